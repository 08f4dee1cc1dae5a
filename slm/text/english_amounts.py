"""English money, units, percentages, fractions, ranges, signs and numbers as they are said."""

from __future__ import annotations

import re
import unicodedata

from .english_numbers import cardinal, digits, fraction, number, ordinal, plural, short_number
from .english_units import CURRENCIES, LARGE, SIGNS, UNITS

_NUM = r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_SYMBOLS = "|".join(re.escape(each) for each in sorted(CURRENCIES, key=len, reverse=True))
_LARGE = (
    r"(?:\s+(?:hundred|thousand|million|billion|trillion)|\s?(?:trn|mio|mn|bn|tn|[kKmMbBtT]))\b"
)
_TO = r"(?:\s?[-–]\s?|\s+to\s+)"
_MONEY = re.compile(
    rf"(?<![\w.])({_SYMBOLS})\s?({_NUM})(?:{_TO}(?:\1\s?)?({_NUM}))?({_LARGE})?(?:\s?(?:USD|EUR|GBP)\b)?"
)
_MONEY_BEHIND = re.compile(
    rf"(?<![\w.,])({_NUM})({_LARGE})?\s?([$£€¥₹¢₩₽]|(?:USD|EUR|GBP|JPY|CHF|INR)\b)(?!\d)"
)
_MILLIONS = re.compile(rf"(?<![\w.,])({_NUM})(?:(M|B)|\s?(mn|bn|tn))\b")
_FRACTION = r"(?:\d+\s)?\d+/\d+"
_NAMES = "|".join(re.escape(each) for each in sorted(UNITS, key=len, reverse=True))
_UNIT = re.compile(
    rf"(?<![\w.,/])({_FRACTION}|{_NUM})(?:{_TO}({_NUM}))?(\s?-?)({_NAMES})(?:\^?([23]))?"
    rf"(?:/({_NAMES})(?:\^?([23]))?)?(?![\w°^/]|'\w)(\.(?=\s+[a-z(]|,))?"
)
_PER = re.compile(r"(?<=[a-z])/(?=(?:day|week|month|year|hour|minute|second|person|night)\b)")
_FEET = re.compile(r"(?<![\w.,])(\d+)'\s?(\d{1,2})\"")
_INCHES = re.compile(rf"(?<![\w.,])({_NUM})\"")
_INCH = re.compile(
    rf"(?<![\w.,])({_NUM})(?:\s|-)?in(?:\.(?=\s+[a-z]|,)|(?=\s(?:x|by|tall|long|wide|deep|thick)\b))"
)
_SLASHED = re.compile(r"(?<![\w.,/:])(?:(\d+)[ -])?(\d{1,4})/(\d{1,4})(?![\w/:]|[.,]\d)")
_SCIENTIFIC = re.compile(
    rf"(?<![\w.])({_NUM})\s?(?:e([+-]?)(\d+)|[x×*]\s?10\^([-−]?)(\d+))(?![\w.])", re.I
)
_POWER = re.compile(r"(?<=[\w)])\s?\^\s?([-−]?)(\d+)")
_ORDINAL = re.compile(r"(?<![\w.])(\d[\d,]*)(?:st|nd|rd|th)\b", re.IGNORECASE)
_PLURAL = re.compile(r"(?<![\w.,])(\d{1,4})'?s\b")
_TIMES = re.compile(rf"(?<![\w.,])({_NUM})x\b(?!\s?\d)")
_BY = re.compile(r"(?<![\w.,])(\d+)\s?x\s?(\d+)(?![\w.,])")
_HYPHENS = re.compile(r"(?<![\w-])(\d+(?:-\d+){2,})(?![\w-])")
_RANGE = re.compile(r"(?<=\d)(%|°)?\s?–\s?(?=[\d$£€.])|(?<=\d)(%|°)?-(?=[\d$£€])|(?<=\d) - (?=\d)")
_EQUATION = re.compile(r"(?<=\d)\s?-\s?(?=\d+(?:\.\d+)?\s?=)")
_LETTER_RANGE = re.compile(r"(?<![\w])([A-Z])\s?–\s?([A-Z])(?!\w)|(?<![\w-])(A)-(Z)(?![\w-])")
_NEGATIVE = re.compile(r"(?<![\w.)-])[-−](?=\.?\d)")
_COUNT = re.compile(r"(?<![\w&])#\s?(?=\d)")
_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?![\d]|,\d)|\d+)(?:\.\d+)?(?![\d])")
_INDIAN = re.compile(r"(?<![\w.,])\d{1,2}(?:,\d\d)+,\d{3}(?![\d,])")
_SPACED = re.compile(r"(?<![\w.,])(?<!\d )\d{1,3}(?: 000)+(?![\d]|[ .,]\d)")
_LEFT_OVER = re.compile(r"(\.?)(\d+)")
_LESS = re.compile(r"(?<![\w<>=])([<>≤≥~≈])\s?(?=[-\d.$£€])")
_LESS_WORDS = {
    "<": "less than ",
    ">": "more than ",
    "≤": "at most ",
    "≥": "at least ",
    "~": "about ",
    "≈": "about ",
}
_SIGN = re.compile("|".join(re.escape(each) for each in SIGNS))
_WORD_SLASH = re.compile(r"(?<=\w)\s?/\s?(?=\w)")
_GREEK = re.compile(r"(?<![^\W\d_])[\u0391-\u03c9](?![^\W\d_])")


def expand_amounts(text: str) -> str:
    """Write what has an amount in words: money, units, percentages, fractions, powers, ranges."""
    text = _INDIAN.sub(lambda match: match[0].replace(",", ""), text)
    text = _SPACED.sub(lambda match: match[0].replace(" ", ""), text)
    text = _COUNT.sub("number ", text)
    text = _LESS.sub(lambda match: _LESS_WORDS[match[1]], text)
    text = _EQUATION.sub(" minus ", text)
    text = re.sub(r"(?<!\w)[-−](?=[$£€¥₹]\s?\d)", "minus ", text)
    text = _replaced(_MONEY, _money, text)
    text = _replaced(_MONEY_BEHIND, _money_behind, text)
    text = _PER.sub(" per ", text)
    text = _NEGATIVE.sub("minus ", text)
    text = _SCIENTIFIC.sub(_scientific, text)
    text = text.replace("−", " minus ")
    text = _FEET.sub(lambda m: f"{_counted(m[1], 'foot', 'feet')} {number(m[2])}", text)
    text = _INCHES.sub(_inches, text)
    text = _INCH.sub(lambda m: _counted(m[1], "inch", "inches"), text)
    text = _replaced(_UNIT, _unit, text)
    text = _replaced(_MILLIONS, lambda m: f"{number(m[1])} {LARGE[(m[2] or m[3]).lower()]}", text)
    text = _SLASHED.sub(_fraction, text)
    text = _POWER.sub(_power, text)
    text = _ORDINAL.sub(lambda match: _ordinal(match[1]), text)
    text = _PLURAL.sub(lambda match: plural(int(match[1])), text)
    text = _TIMES.sub(lambda match: f"{number(match[1])} times", text)
    text = _BY.sub(lambda m: f"{short_number(m[1])} by {short_number(m[2])}", text)
    text = _HYPHENS.sub(lambda match: ", ".join(map(digits, match[1].split("-"))), text)
    text = _LETTER_RANGE.sub(lambda m: f"{_letter(m[1] or m[3])} to {m[2] or m[4]}", text)
    return _RANGE.sub(lambda m: f"{SIGNS[m[1] or m[2]] if m[1] or m[2] else ''} to ", text)


def expand_numbers(text: str) -> str:
    """Write all numbers that are left in words; no digit is left."""
    text = _replaced(_NUMBER, lambda match: number(match[0]), text)
    return _replaced(_LEFT_OVER, _left_over, text)


def expand_signs(text: str) -> str:
    """Write signs and single Greek letters in words; what is neither word nor mark is left out."""
    text = re.sub(r"\bC\+\+", "C plus plus", text)
    text = re.sub(r"(?<=\d) ?\* ?(?=\d)", " times ", text)
    # Letters of formulas and marks of school: "A+" is a letter.
    text = re.sub(r"(?<!\w)A(?=[+])", "ay", text)
    text = re.sub(r"([=+#<>^$~%&@|*_\\-])\1{2,}", " ", text)
    text = _SIGN.sub(lambda match: f" {SIGNS[match[0]]} ", text)
    text = _WORD_SLASH.sub(" slash ", text)
    text = re.sub(r"(?<=[^\W_])_(?=[^\W_])", " underscore ", text)
    text = _GREEK.sub(lambda m: f" {unicodedata.name(m[0]).split()[-1].lower()} ", text)
    text = text.translate({ord(a): b for a, b in zip("[]{}", "()()", strict=True)})
    kept = (each if each.isalpha() or _is_mark(each) else " " for each in text)
    text = " ".join("".join(kept).split())
    return re.sub(r" (?=[,.;:!?)])(?! ?\.\.)", "", text)


def _is_mark(character: str) -> bool:
    return character in " ,.;:!?'\"()–—-" or unicodedata.category(character)[0] == "M"


def _replaced(pattern: re.Pattern[str], write: object, text: str) -> str:
    """Replace with a space where a letter or a digit stands right beside the words."""

    def apart(match: re.Match[str]) -> str:
        words = write(match)  # type: ignore[operator]
        before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
        return f"{' ' if before.isalnum() else ''}{words}{' ' if after.isalnum() else ''}"

    return pattern.sub(apart, text)


def _letter(name: str) -> str:
    return "ay" if name == "A" else name


def _is_one(written: str) -> bool:
    return written.replace(",", "") == "1"


def _counted(written: str, one: str, many: str) -> str:
    return f"{number(written)} {one if _is_one(written) else many}"


def _ordinal(written: str) -> str:
    plain = written.replace(",", "")
    return ordinal(int(plain)) if len(plain) <= 15 else digits(plain)


def _money(match: re.Match[str]) -> str:
    symbol, first, last, large = match.groups()
    one, many, part, parts = CURRENCIES[symbol]
    scale = f" {LARGE[large.strip().lower()]}" if large else ""
    if last:
        return f"{number(first)} to {number(last)}{scale} {many}"
    whole, _, cents = first.replace(",", "").partition(".")
    if large or len(cents) > 2 or not part:
        return f"{number(first)}{scale} {one if _is_one(first) and not large else many}"
    units, hundredths = int(whole or 0), int(f"{cents or 0:<02}")
    said = [f"{number(whole)} {one if units == 1 else many}"] if units or not hundredths else []
    if hundredths:
        said.append(f"{cardinal(hundredths)} {part if hundredths == 1 else parts}")
    return " and ".join(said)


def _money_behind(match: re.Match[str]) -> str:
    written, large, symbol = match.groups()
    return " ".join(_MONEY.sub(_money, f"{symbol}{written}{large or ''}").split())


def _unit(match: re.Match[str]) -> str:
    written, last, space, name, power, per, power_below, _ = match.groups()
    one, many = UNITS[name]
    if name == "s" and not space and "." not in written:
        return match[0]  # "747s" are aircraft
    powers = {"2": "square ", "3": "cubic ", None: ""}
    # "a ten kilometer run"
    unit = one if _is_one(written) or space.endswith("-") else many
    if last:
        amount, unit = f"{number(written)} to {number(last)}", many
    elif "/" in written:
        amount = _spoken_fraction(written)
        if " " not in written:
            unit = f"a {one}" if written == "1/2" else f"of a {one}"
            amount = "half" if written == "1/2" else amount
    else:
        amount = number(written)
    said = f"{amount} {powers[power]}{unit}"
    if not per:
        return said
    # "per second squared", but "per square meter"
    if power_below and UNITS[per][0] in ("second", "hour", "minute"):
        return f"{said} per {UNITS[per][0]} {'squared' if power_below == '2' else 'cubed'}"
    return f"{said} per {powers[power_below]}{UNITS[per][0]}"


def _inches(match: re.Match[str]) -> str:
    # A quote that closes another one is no inch.
    if match.string[: match.start()].count('"') % 2:
        return match[0]
    return _counted(match[1], "inch", "inches")


def _spoken_fraction(written: str) -> str:
    whole, _, part = written.rpartition(" ")
    top, bottom = map(int, part.split("/"))
    if not bottom:
        return f"{number(whole or str(top))} over zero"
    said = fraction(top, bottom)
    if not whole:
        return said
    return f"{number(whole)} and {'a ' + said[4:] if top == 1 else said}"


def _fraction(match: re.Match[str]) -> str:
    whole, top, bottom = match.groups()
    after = match.string[match.end() :]
    if f"{top}/{bottom}" in ("24/7", "9/11", "50/50"):
        return f"{number(top)} {number(bottom)}"
    if whole is None and f"{top}/{bottom}" == "1/2":
        # "half a cup", "half the cup", "half of it", "half-inch"
        if re.match(r"\s+(?:a|an|the|of|my|your|his|her|our|their)\b|-", after):
            return "half"
        if re.match(r"\s+[a-z]", after) and not re.match(r"\s+(?:is|was|and|or|plus|to)\b", after):
            return "half an" if re.match(r"\s+(?:[aeiou]|hour)", after) else "half a"
    return _spoken_fraction(f"{whole} {top}/{bottom}" if whole else f"{top}/{bottom}")


def _scientific(match: re.Match[str]) -> str:
    mantissa, sign, power, other_sign, other = match.groups()
    minus = "minus " if (sign or other_sign or "") in ("-", "−") else ""
    return f"{number(mantissa)} times ten to the power of {minus}{number(power or other)}"


def _power(match: re.Match[str]) -> str:
    if not match[1] and match[2] in ("2", "3"):
        return " squared" if match[2] == "2" else " cubed"
    return f" to the power of {'minus ' if match[1] else ''}{number(match[2])}"


def _left_over(match: re.Match[str]) -> str:
    """Digits behind a point ("1.2.3") or within a word."""
    return f"point {digits(match[2])}" if match[1] else short_number(match[2])
