"""Fields of settings: those that change no result, and those that two dataclasses share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import field, fields
from typing import Any

from codec.checks import require


def runtime(default: Any) -> Any:
    """Declare a field that changes no result, only how the work is done.

    It takes no part in the signature of a stage.
    """
    return field(default=default, metadata={"runtime": True})


def shared_fields(settings: Any, kind: type) -> dict[str, Any]:
    """Collect the fields that a section has in common with a dataclass of the library.

    Args:
        settings: Section of the settings.
        kind: The dataclass.

    Returns:
        Values by name, to build or to replace an object of `kind` with.
    """
    names = {each.name for each in fields(kind)}
    return {
        each.name: getattr(settings, each.name) for each in fields(settings) if each.name in names
    }


def some_of(field: str, values: Collection[str], choices: Collection[str]) -> None:
    """Refuse values that are not among `choices`; names the wrong ones."""
    unknown = sorted(set(values) - set(choices))
    require(not unknown, field, f"some of {', '.join(choices)}", unknown)
