"""Text normalization for English: numbers, money, times, decades, abbreviations in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_ABBREVIATIONS = {
    "dr": "doctor",
    "mr": "mister",
    "mrs": "missis",
    "ms": "miz",
    "prof": "professor",
    "st": "saint",
    "vs": "versus",
    "etc": "et cetera",
    "approx": "approximately",
    "no": "number",
    "e.g": "for example",
    "i.e": "that is",
}
# "no." is only a number's sign before a digit; "st." only a saint before a name.
_ABBREVIATION = re.compile(
    r"\b(dr|mr|mrs|ms|prof|vs|etc|approx|e\.g|i\.e|no(?=\.\s*\d)|st(?=\.\s+[A-Z]))\.",
    re.IGNORECASE,
)
# Behind a number only. The last full stop is also the sentence's where no small letter follows.
_HALF_OF_DAY = re.compile(
    r"(?<=\d)\s?([ap])(?:m\b|\.m\b(?:\.(?=\s+(?-i:[a-z0-9]))|\.(?=,))?)", re.IGNORECASE
)
_MONEY = re.compile(
    r"([$£€])\s?(\d[\d,]*)(?:\.(\d+))?(?:\s+(hundred|thousand|million|billion|trillion)\b)?"
)
_CURRENCY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_TIME = re.compile(r"(?<![\d:.,])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])")
_DECADE = re.compile(r"(?<![\w.,])['\u2019]?(\d\d)?(\d0)['\u2019]?s\b")
_TENS = ["hundreds", "tens", "twenties", "thirties", "forties", "fifties", "sixties"]
_TENS += ["seventies", "eighties", "nineties"]
_SCIENTIFIC = re.compile(r"(?<![\w.])(-?)(\d+)(\.\d+)?e([+-]?)(\d+)\b", re.IGNORECASE)
_ORDINAL = re.compile(r"\b(\d[\d,]*)(?:st|nd|rd|th)\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])(-?)(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(\.\d+)?(%?)")
_LEFT_OVER = re.compile(r"(\.?)(\d+)(%?)")
_LONGEST_NUMBER = 15  # digits; longer ones are read digit by digit


def normalize_text(text: str) -> str:
    """Write numbers, money, times and common abbreviations of an English text out.

    Years are read as numbers, decades ("1990s") as decades; numbers of more than 15 digits and what
    follows a point digit by digit. No digit is left. Needs the `text` extra (inflect).

    Raises:
        ValueError: The package is missing.
    """
    try:
        import inflect
    except ImportError as error:
        raise ValueError(
            "expected the package inflect to write numbers out: pip install 'inflect>=7.3,<8'"
        ) from error
    written = _Numbers(inflect.engine())
    text = re.sub(r"\d", lambda match: str(int(match[0])), text)  # digits of any script
    text = _ABBREVIATION.sub(lambda match: _ABBREVIATIONS[match[1].lower()], text)
    # What is left of a number after a rule is plain digits, so the more special rules come first.
    rules: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
        (_MONEY, written.money),
        (_HALF_OF_DAY, lambda match: f" {match[1]} m"),
        (_TIME, written.time),
        (_DECADE, written.decade),
        (_SCIENTIFIC, written.scientific),
        (_ORDINAL, written.ordinal),
        (_NUMBER, written.number),
        (_LEFT_OVER, written.left_over),
    ]
    for pattern, write in rules:
        text = pattern.sub(lambda match, write=write: _apart(match, write(match)), text)
    return " ".join(text.replace("&", " and ").split())


class _Numbers:
    """Numbers in words, by inflect's engine."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def words(self, digits: str) -> str:
        digits = digits.replace(",", "")
        if len(digits) > _LONGEST_NUMBER:
            return self.one_by_one(digits)
        return str(self._engine.number_to_words(digits)).replace(",", "")

    def one_by_one(self, digits: str) -> str:
        return " ".join(self.words(digit) for digit in digits)

    def decimal(self, whole: str, point: str | None) -> str:
        """A number, with what follows its point if anything does (the point may come along)."""
        words = self.words(whole)
        return f"{words} point {self.one_by_one(point.lstrip('.'))}" if point else words

    def money(self, match: re.Match[str]) -> str:
        (unit, part), whole, point, large = _CURRENCY[match[1]], match[2], match[3], match[4]
        units = int(whole.replace(",", ""))
        # A comma behind the number is the sentence's.
        rest = "," * (len(whole) - len(whole.rstrip(",")))
        if large or len(point or "") > 2:
            many = f" {large}" if large else ""
            return f"{self.decimal(whole, point)}{many} {_counted(unit, 2)}{rest}"
        cents = int(f"{point or 0:<02}")
        money = f"{self.words(whole)} {_counted(unit, units)}"
        if cents and not units:
            money = f"{self.words(str(cents))} {_counted(part, cents)}"
        elif cents:
            money = f"{money} and {self.words(str(cents))} {_counted(part, cents)}"
        return money + rest

    def time(self, match: re.Match[str]) -> str:
        hour, minute = int(match[1]), int(match[2])
        words = self.words(str(hour))
        if minute:
            return f"{words} {'oh ' if minute < 10 else ''}{self.words(str(minute))}"
        if re.match(r" +[ap] m\b", match.string[match.end() :], re.IGNORECASE):
            return words
        return f"{words} o'clock" if 1 <= hour <= 12 else f"{words} hundred"

    def decade(self, match: re.Match[str]) -> str:
        century, tens = match[1], _TENS[int(match[2]) // 10]
        if century is None:
            return tens if match[2] != "00" else "two thousands"
        if match[2] == "00" and int(century) % 10 == 0:
            return f"{self.words(f'{int(century) // 10}000')}s"
        return f"{self.words(str(int(century)))} {tens}"

    def scientific(self, match: re.Match[str]) -> str:
        power = f"{'minus ' if match[4] == '-' else ''}{self.words(match[5])}"
        number = self.decimal(match[2], match[3])
        return f"{'minus ' if match[1] else ''}{number} times ten to the power of {power}"

    def ordinal(self, match: re.Match[str]) -> str:
        return str(self._engine.ordinal(self.words(match[1])))

    def number(self, match: re.Match[str]) -> str:
        words = self.decimal(match[2], match[3])
        return f"{'minus ' if match[1] else ''}{words}{' percent' if match[4] else ''}"

    def left_over(self, match: re.Match[str]) -> str:
        """Digits within a word ("MP3") or behind a point ("1.2.3", ".5")."""
        words = f"point {self.one_by_one(match[2])}" if match[1] else self.words(match[2])
        return f"{words}{' percent' if match[3] else ''}"


def _apart(match: re.Match[str], words: str) -> str:
    """Words, with a space where a letter or a digit stands right beside them."""
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    return f"{' ' if before.isalnum() else ''}{words}{' ' if after.isalnum() else ''}"


def _counted(unit: str, count: int) -> str:
    if count == 1:
        return unit
    return "pence" if unit == "penny" else f"{unit}s"
