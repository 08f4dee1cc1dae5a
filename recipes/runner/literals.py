"""Words of YAML files as they are written, for settings that are texts.

YAML reads `007` as the number 7, `1e3` as 1000.0 and `12:30` as 750. Where a setting is a text,
such as a name or a path, what was written is meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from omegaconf import OmegaConf


def literal_values(text: str) -> Any:
    """Read YAML with every value as the text that stands there.

    Raises:
        yaml.YAMLError: It is not valid.
    """
    return yaml.load(text, yaml.BaseLoader)


def literal_overrides(arguments: Sequence[str]) -> dict[Any, Any]:
    """Read `key=value` words as nested dicts, with every value as the text that stands there."""
    found = OmegaConf.create()
    for argument in arguments:
        key, _, value = argument.partition("=")
        OmegaConf.update(found, key, literal_values(value), merge=False)
    values = OmegaConf.to_container(found)
    assert isinstance(values, dict)
    return values


def laid_over(values: dict[Any, Any], others: dict[Any, Any]) -> dict[Any, Any]:
    """Lay nested dicts over others, key by key."""
    found = dict(values)
    for key, value in others.items():
        below = found.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            value = laid_over(below, value)
        found[key] = value
    return found


def with_literals(given: Any, literal: Any, taken: Any) -> Any:
    """Put what was written in the place of numbers, where a schema takes texts.

    Args:
        given: Values as YAML reads them.
        literal: The same with every value as it is written; what is not there, such as a value of
            an anchor, stays as it was read.
        taken: The same as the schema takes them.

    Returns:
        `given` with texts in these places.
    """
    if isinstance(given, Mapping) and isinstance(taken, Mapping):
        inside = literal if isinstance(literal, Mapping) else {}
        return {
            name: with_literals(value, inside.get(name), taken.get(name))
            for name, value in given.items()
        }
    if isinstance(given, list) and isinstance(taken, list) and len(given) == len(taken):
        words = literal if isinstance(literal, list) and len(literal) == len(given) else given
        return [with_literals(*each) for each in zip(given, words, taken, strict=True)]
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    if is_number and isinstance(taken, str) and isinstance(literal, str):
        return literal
    return given
