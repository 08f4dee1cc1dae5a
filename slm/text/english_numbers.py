"""English number words: cardinals, ordinals, years, single digits, fractions, Roman numerals."""

from __future__ import annotations

import re
from functools import lru_cache

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = ("", "thousand", "million", "billion", "trillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_LONGEST = 15  # digits; longer numbers are said digit by digit
_LETTERS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")


@lru_cache(maxsize=4096)
def cardinal(number: int) -> str:
    """A whole number in [0, 10 ** 15) in words: "one thousand two hundred and fifty"."""
    if number < 100:
        return _below_hundred(number)
    groups: list[str] = []
    rest, scale = number, 0
    while rest:
        rest, group = divmod(rest, 1000)
        if group:
            hundreds, below = divmod(group, 100)
            words = [f"{_ONES[hundreds]} hundred"] if hundreds else []
            # "and" stands before the tens of a group, and of the last one if anything is before it
            if below and (hundreds or (rest and not scale)):
                words.append("and")
            words += [_below_hundred(below)] if below else []
            groups.append(" ".join([*words, *([_SCALES[scale]] if scale else [])]))
        scale += 1
    return " ".join(reversed(groups))


def ordinal(number: int) -> str:
    """The ordinal of a whole number: "twenty-first"."""
    head, mark, last = _last_word(cardinal(number))
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return f"{head}{mark}{last}"


def plural(number: int) -> str:
    """The plural of a whole number: "twenties", "sixes"."""
    words = cardinal(number)
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"


def year(number: int) -> str:
    """A year as two pairs of digits where that is how it is said: "nineteen oh five"."""
    century, rest = divmod(number, 100)
    if number < 1000 or number >= 10000 or number % 1000 < 10:
        return cardinal(number)
    if not rest:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(text: str) -> str:
    """The digits of a text one by one; everything else in it is passed over."""
    return " ".join(_ONES[int(each)] for each in text if each.isdigit())


def number(text: str) -> str:
    """A number as it is written, with commas between thousands or a decimal point, in words.

    Leading zeros ("007") and numbers of more than 15 digits are said digit by digit.
    """
    whole, point, part = text.replace(",", "").partition(".")
    words = _whole(whole) if whole else ""
    return f"{words} point {digits(part)}".strip() if point else words


def short_number(text: str) -> str:
    """Digits within a name, such as "A380", in pairs: "three eighty"."""
    # Not pairs: "100", "2005".
    if len(text) in (3, 4) and text[0] != "0" and text[-2:] != "00" and text[1:3] != "00":
        head, rest = int(text[:-2]), int(text[-2:])
        return f"{cardinal(head)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"
    return _whole(text) if len(text) <= 4 else digits(text)


def fraction(top: int, bottom: int) -> str:
    """A fraction: "one half", "three quarters", "two thirds", "three over two hundred"."""
    if bottom == 2 or bottom == 4:
        singular = "half" if bottom == 2 else "quarter"
        name = singular if top == 1 else ("halves" if bottom == 2 else "quarters")
    elif 2 < bottom <= 100:
        name = ordinal(bottom) + ("" if top == 1 else "s")
    else:
        return f"{cardinal(top)} over {cardinal(bottom)}"
    return f"{cardinal(top)} {name}"


def roman(text: str) -> int:
    """The value of a Roman numeral in capitals, 0 where it is none."""
    if not text or not _ROMAN.fullmatch(text):
        return 0
    values = [_LETTERS[letter] for letter in text]
    following = [*values[1:], 0]
    return sum(-a if a < b else a for a, b in zip(values, following, strict=True))


def _whole(text: str) -> str:
    if len(text) > _LONGEST or (len(text) > 1 and text[0] == "0"):
        return digits(text)
    return cardinal(int(text))


def _below_hundred(number: int) -> str:
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return f"{_TENS[tens]}-{_ONES[ones]}" if ones else _TENS[tens]


def _last_word(words: str) -> tuple[str, str, str]:
    """Everything before the last word, the space or hyphen before it, and that word."""
    at = max(words.rfind(" "), words.rfind("-"))
    return (words[:at], words[at], words[at + 1 :]) if at >= 0 else ("", "", words)
