"""How fields of the settings are declared and checked."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def runtime(default: Any) -> Any:
    """A field that changes no result, only how the work is done: not part of any signature."""
    return field(default=default, metadata={"runtime": True})


def require(condition: bool, key: str, expected: str, got: object) -> None:
    """Raise `ValueError` naming `key`, what was expected of it and what came."""
    if not condition:
        raise ValueError(f"{key}: expected {expected}, got {got!r}")
