"""Writing files so that they appear only when whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eval.files import write_whole


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text beside `path`, then move it there: a full disk leaves the old file alone.

    Raises:
        OSError: The text could not be written; nothing is left behind.
    """
    write_whole(path, text)


def write_json(path: Path, value: Any) -> None:
    """Write one JSON document, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
