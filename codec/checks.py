"""Checks of settings, made where they are built, that say what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Literal

# Of rates, weights and the like: products of a few such numbers still fit float32, in which a
# larger one would be an error of the library that meets it.
LARGEST = 1e6


def require(
    condition: bool,
    field: str,
    expected: str,
    got: object,
    *,
    error: type[ValueError] = ValueError,
) -> None:
    """Refuse a value.

    Args:
        condition: Whether it is right.
        field: Its name, with the sections it lies in, such as `train_codec.devices`.
        expected: Of it, in words, such as "a count >= 1".
        got: The value.
        error: Class of the error.

    Raises:
        ValueError: `FIELD: expected EXPECTED, got GOT`.
    """
    if not condition:
        raise error(f"{field}: expected {expected}, got {got!r}")


def one_of(
    field: str,
    value: object,
    choices: Collection[object],
    *,
    error: type[ValueError] = ValueError,
) -> None:
    """Refuse a value that is not among some: "expected a or b", "expected one of a, b, c".

    Raises:
        ValueError: As `require`.
    """
    names = [str(choice) for choice in choices]
    expected = " or ".join(names) if len(names) < 3 else f"one of {', '.join(names)}"
    require(value in choices, field, expected, value, error=error)


def at_least(
    field: str, value: float, least: float, *, error: type[ValueError] = ValueError
) -> None:
    """Refuse a number below `least`, NaN, or what is no number.

    Raises:
        ValueError: As `require`.
    """
    require(_is_number(value) and value >= least, field, f"a number >= {least}", value, error=error)


def count(field: str, value: int, least: int = 0, *, error: type[ValueError] = ValueError) -> None:
    """Refuse what is no whole number of at least `least`.

    Raises:
        ValueError: As `require`.
    """
    fits = isinstance(value, Integral) and not isinstance(value, bool) and value >= least
    require(fits, field, f"a whole number >= {least}", value, error=error)


def above(field: str, value: float, bound: float, *, error: type[ValueError] = ValueError) -> None:
    """Refuse a number that is not greater than `bound`, NaN, or what is no number.

    Raises:
        ValueError: As `require`.
    """
    require(_is_number(value) and value > bound, field, f"a number > {bound}", value, error=error)


def in_range(
    field: str,
    value: float,
    low: float,
    high: float,
    *,
    ends: Literal["[]", "[)", "(]", "()"] = "[]",
    error: type[ValueError] = ValueError,
) -> None:
    """Refuse a number outside an interval, NaN, or no number: "expected a number in [0, 1)".

    Args:
        field: Name of the value.
        value: The number.
        low: Lower end.
        high: Upper end.
        ends: A square bracket for an end that belongs to the interval, a round one for an open end.
        error: Class of the error.

    Raises:
        ValueError: As `require`.
    """
    fits = _is_number(value) and low <= value <= high
    fits &= value != low or ends[0] == "["
    fits &= value != high or ends[1] == "]"
    require(fits, field, f"a number in {ends[0]}{low}, {high}{ends[1]}", value, error=error)


def check_shares(name: str, batch_size: int, processes: int) -> None:
    """Refuse a batch that does not divide into equal shares; `name` is for the message.

    Raises:
        ValueError: Names `name` and both numbers.
    """
    expected = f"a multiple of {processes} processes (devices x num_nodes)"
    require(batch_size % processes == 0, f"{name}: batch_size", expected, batch_size)


def all_finite(field: str, value: object, *, error: type[ValueError] = ValueError) -> None:
    """Refuse NaN and infinity in a number, or in any number that settings hold, however deep.

    Args:
        field: Name of the value; empty for settings whose fields go by their own names.
        value: A number, or a dataclass, mapping, list or tuple; what holds no numbers passes.
        error: Class of the error.

    Raises:
        ValueError: As `require`; names the first number, such as `phase.betas[0]`.
    """
    if isinstance(value, Real) and not isinstance(value, Integral):
        require(math.isfinite(value), field, "a finite number", value, error=error)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            all_finite(f"{field}.{name}".lstrip("."), each, error=error)
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            all_finite(f"{field}[{index}]", each, error=error)
    elif is_dataclass(value):
        # A setting that is still to be given has no value yet.
        held = {each.name: getattr(value, each.name, None) for each in fields(value)}
        all_finite(field, held, error=error)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
