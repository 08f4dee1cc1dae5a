"""Checks of settings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import pytest

from codec.checks import above, at_least, count, in_range, one_of, require


class ConfigError(ValueError):
    """A class of a caller's."""


@dataclass(frozen=True)
class Settings:
    count: int = 1
    share: float = 0.5
    kind: str = "a"

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)
        in_range("share", self.share, 0, 1, ends="[)")
        one_of("kind", self.kind, ("a", "b"))


def test_what_is_right_passes():
    Settings()
    Settings(count=7, share=0.0, kind="b")
    require(True, "any", "thing", None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Settings(count=0), "count: expected a number >= 1, got 0"),
        (lambda: Settings(share=1.0), "share: expected a number in [0, 1), got 1.0"),
        (lambda: Settings(kind="c"), "kind: expected a or b, got 'c'"),
        (lambda: one_of("n", 4, [1, 2, 3]), "n: expected one of 1, 2, 3, got 4"),
        (lambda: above("rate", 0, 0), "rate: expected a number > 0, got 0"),
        (
            lambda: count("steps", cast("int", 2.5), 1),
            "steps: expected a whole number >= 1, got 2.5",
        ),
        (lambda: count("steps", 0, 1), "steps: expected a whole number >= 1, got 0"),
        (lambda: count("steps", True), "steps: expected a whole number >= 0, got True"),
        (lambda: at_least("x", cast("float", "3"), 1), "x: expected a number >= 1, got '3'"),
        (lambda: require(False, "x.y", "a pair", ("z",)), "x.y: expected a pair, got ('z',)"),
    ],
)
def test_what_is_wrong_is_said_in_one_form(make, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        make()
    assert str(caught.value) == message


def test_not_a_number_is_in_no_range():
    for check in (
        lambda: at_least("x", math.nan, 0),
        lambda: above("x", math.nan, 0),
        lambda: in_range("x", math.nan, 0, 1),
    ):
        with pytest.raises(ValueError, match="got nan"):
            check()


@pytest.mark.parametrize(
    ("ends", "inside", "outside"),
    [("[]", (0, 1), ()), ("[)", (0,), (1,)), ("(]", (1,), (0,)), ("()", (), (0, 1))],
)
def test_ends_belong_to_a_range_or_not(ends, inside, outside):
    for value in (0.5, *inside):
        in_range("x", value, 0, 1, ends=ends)
    for value in (-1, 2, *outside):
        with pytest.raises(ValueError, match="x: expected a number in"):
            in_range("x", value, 0, 1, ends=ends)


def test_the_class_of_the_error_is_the_callers():
    with pytest.raises(ConfigError):
        require(False, "x", "y", 0, error=ConfigError)
    with pytest.raises(ConfigError):
        one_of("x", 0, (1,), error=ConfigError)
