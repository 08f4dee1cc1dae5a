import random

import pytest

from slm.text.english_numbers import (
    cardinal,
    fraction,
    number,
    ordinal,
    plural,
    roman,
    short_number,
    year,
)


@pytest.mark.slow
def test_numbers_are_those_of_a_library() -> None:
    inflect = pytest.importorskip("inflect")
    engine, draw = inflect.engine(), random.Random(0)
    numbers = [*range(300), 1000, 1001, 10**6, *(draw.randrange(10**15) for _ in range(200))]
    for each in numbers:
        words = engine.number_to_words(each).replace(",", "")
        assert cardinal(each) == words
        assert ordinal(each) == engine.ordinal(words)


def test_years_are_said_in_pairs() -> None:
    said = {1984: "nineteen eighty-four", 1905: "nineteen oh five", 1900: "nineteen hundred"}
    said |= {2000: "two thousand", 2005: "two thousand and five", 2024: "twenty twenty-four"}
    said |= {1066: "ten sixty-six", 476: "four hundred and seventy-six"}
    assert {each: year(each) for each in said} == said


def test_leading_zeros_and_long_numbers_are_said_digit_by_digit() -> None:
    assert number("007") == "zero zero seven"
    assert number("9" * 16) == " ".join(["nine"] * 16)
    assert number("1,234.50") == "one thousand two hundred and thirty-four point five zero"
    assert number("9" * 15).startswith("nine hundred and ninety-nine trillion")


def test_fractions_plurals_and_numbers_in_names() -> None:
    assert [fraction(1, 2), fraction(3, 4), fraction(2, 3)] == [
        "one half", "three quarters", "two thirds",
    ]  # fmt: skip
    assert [plural(6), plural(20), plural(747)] == [
        "sixes", "twenties", "seven hundred and forty-sevens",
    ]  # fmt: skip
    assert [short_number(each) for each in ("380", "3080", "100", "2005", "64")] == [
        "three eighty", "thirty eighty", "one hundred", "two thousand and five", "sixty-four",
    ]  # fmt: skip


def test_what_is_no_roman_numeral_is_zero() -> None:
    assert [roman(each) for each in ("XIV", "IX", "MCMLXXXIV", "IIII", "VX", "")] == [
        14, 9, 1984, 0, 0, 0,
    ]  # fmt: skip
