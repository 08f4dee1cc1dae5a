"""JSON files: one document each, in UTF-8."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .atomic import write_text
from .json_text import json_text, json_value
from .reading import read_file


def write_json(path: str | os.PathLike[str], value: Any, *, indent: int | None = 2) -> Path:
    """Write one JSON document, whole or not at all, and return its path.

    Args:
        path: Of the file.
        value: Nested plain containers.
        indent: Spaces a level; None for one line.

    Raises:
        ValueError: JSON cannot hold the value: names the file, and the key within.
        OSError: The disk refused.
    """
    try:
        text = json_text(value, indent=indent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return write_text(path, text)


def read_json(path: str | os.PathLike[str], *, required: Collection[str] | None = None) -> Any:
    """Read one JSON document in UTF-8, with or without a byte order mark.

    Args:
        path: Of the file.
        required: Keys of the object that it must hold; None allows any value.

    Raises:
        ValueError: The file is not JSON, or no object with these keys: names it.
        OSError: It is missing or cannot be opened.
    """
    content = read_file(path)
    try:
        value = json_value(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if required is None or (isinstance(value, dict) and all(key in value for key in required)):
        return value
    wanted = f" with {', '.join(required)}" if required else ""
    raise ValueError(f"{path}: expected a JSON object{wanted}, got {repr(value)[:80]}")
