"""Text of JSON documents: strict both ways, with errors that name the key."""

from __future__ import annotations

import json
from typing import Any


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object of JSON, as the `object_pairs_hook` of a decoder.

    Raises:
        ValueError: A key stands twice, of which `json` alone would drop the first value.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"expected each key once, got {twice!r} again")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys)


def json_value(text: str) -> Any:
    """Decode one JSON document in which no object has a key twice.

    Raises:
        ValueError: It is no such document.
        RecursionError: It is nested too deep.
    """
    return _DECODER.decode(text)


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """Encode a value as JSON with a final newline, without escapes for letters beyond ASCII.

    Args:
        value: Nested plain containers.
        indent: Spaces a level; None for one line.

    Raises:
        ValueError: NaN, infinity or an object that JSON does not have: names its key, such as
            `figures.3.loss`.
    """
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        key, wrong = _misfit(value)
        place = f"{key}: " if key else ""
        raise ValueError(
            f"{place}expected a value that JSON can hold, got {repr(wrong)[:80]} ({error})"
        ) from error
    try:
        text.encode()
    except UnicodeEncodeError:  # from a file name that is not UTF-8; an escape can hold it
        return json.dumps(value, indent=indent, allow_nan=False) + "\n"
    return text


def _misfit(value: Any) -> tuple[str, Any]:
    """The key of the innermost value that JSON cannot hold, and that value."""
    keys: list[str] = []
    seen: set[int] = set()
    while isinstance(value, dict | list | tuple) and id(value) not in seen:
        seen.add(id(value))
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        found = next(((key, each) for key, each in pairs if not _is_json(each)), None)
        if found is None:  # a key, not a value
            break
        keys.append(str(found[0]))
        value = found[1]
    return ".".join(keys), value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
