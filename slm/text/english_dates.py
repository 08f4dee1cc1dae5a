"""English dates, times and decades as they are said."""

from __future__ import annotations

import re

from .english_numbers import cardinal, number, ordinal, year
from .english_tables import DAYS, MONTHS

_MONTH_OF = {month[:3].lower(): month for month in MONTHS}
_MONTH = r"(Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"  # noqa: E501
_DAY = r"(0?[1-9]|[12]\d|3[01])"
_YEAR = r"(1\d{3}|20\d{2})(?![\d%]|[.,]\d)"
_END = r"(?![\d%:]|[.,/]\d|\s?(?:[ap]\.?m\b|%|percent))"
_MONTH_DAY = re.compile(
    rf"\b{_MONTH}\s+{_DAY}(?:st|nd|rd|th)?(?:\s?[-–]\s?{_DAY})?{_END}(?:,?\s+{_YEAR})?"
)
_DAY_MONTH = re.compile(
    rf"(?<![\w.,:/$£€-])(the\s+)?{_DAY}(?:st|nd|rd|th)?(?:\s?[-–]\s?{_DAY}(?:st|nd|rd|th)?)?"
    rf"\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?",
)
_ISO = re.compile(
    r"(?<![\w.-])(1\d{3}|20\d{2})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?:T(?=\d))?(?![\d-])"
)
_SLASHED = re.compile(r"(?<![\w/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?![\w/]|[.-]\d)")
_DAYS = re.compile(
    rf"\b({'|'.join(day[:3] for day in DAYS)})\.?(?=,|\s?[-–]\s?[A-Z]|\s+\d|\s+{_MONTH})"
)
_DAY_RANGE = re.compile(
    rf"\b((?:{'|'.join(DAYS + MONTHS)})|(?:{'|'.join(DAYS + MONTHS)}))\s?[-–]\s?"
    rf"((?:{'|'.join(d[:3] for d in DAYS + MONTHS)})\w*)"
)
_HALF = r"([ap])(?:m\b|\.\s?m\b(?:\.(?=\s+(?-i:[a-z0-9])|,))?)"
_CLOCK = re.compile(
    rf"(?<![\d:.,])([01]?\d|2[0-4])(?:[:.]([0-5]\d))?(?::([0-5]\d))?\s?{_HALF}", re.IGNORECASE
)
_TIME = re.compile(r"(?<![\d:.,/])([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(?![\d:])")
_RATIO = re.compile(r"(?<![\d:.,])(\d+(?:\.\d+)?):(\d+)(?![\d:])")
_DECADE = re.compile(r"(?<![\w.,$£€])'?(\d\d)?(\d0)'?s\b")
_SHORT_YEAR = re.compile(r"(?<![\w'])'(\d\d)\b(?![\w'\"])")
_TENS = ["hundreds", "tens", "twenties", "thirties", "forties", "fifties", "sixties"]
_TENS += ["seventies", "eighties", "nineties"]
_YEARS = re.compile(r"(?<![\w.,$£€#-])(1[1-9]\d\d|20\d\d)\s?[-–]\s?(\d{4}|\d{2})(?![\w]|[.,:-]\d)")
_PLAIN_YEAR = re.compile(
    r"(?<![\w.,:/$£€#])(?<!number )(?<!page )(?<!room )(?<!suite )(?<!flight )(?<!code )"
    r"(1[1-9]\d\d|20\d\d)(?![\w%^]|[.,:/]\d|\s?[%°])"
)
_EARLY = re.compile(
    r"\b((?i:in|by|since|until|before|after|from|around|circa|year|AD)\s+)(10\d\d)(?![\w%]|[.,:/]\d)"
)
_ERA = re.compile(r"(?<![\w.,])(\d{3,4})(?=\s+(?:BCE?|AD|CE|B\.C|A\.D)\b)")


def expand_dates(text: str) -> str:
    """Write dates, times, decades and years in words. Dates of digits are month first."""
    text = _ISO.sub(lambda m: f"{_date(int(m[2]), int(m[3]), m[1])} ", text)
    text = _SLASHED.sub(_slashed, text)
    text = _DAYS.sub(lambda m: next(day for day in DAYS if day.startswith(m[1])), text)
    text = _DAY_MONTH.sub(_day_month, text)
    text = _MONTH_DAY.sub(_month_day, text)
    text = _DAY_RANGE.sub(lambda m: f"{_full(m[1])} to {_full(m[2])}", text)
    text = re.sub(r"(?<=\d|m)\s?[-–]\s?(?=\d{1,2}:\d\d)", " to ", text)
    text = re.sub(r"(?<=\d[ap]m)\s?[-–]\s?(?=\d)|(?<=\d [ap]m)\s?[-–]\s?(?=\d)", " to ", text)
    text = re.sub(r"(?<=\d)\s?[-–]\s?(?=\d{1,2}\s?[ap]\.?m\b)", " to ", text)
    text = _CLOCK.sub(_clock, text)
    text = _TIME.sub(_time, text)
    text = _RATIO.sub(lambda m: f"{number(m[1])} to {number(m[2])}", text)
    text = _YEARS.sub(_years, text)
    text = _DECADE.sub(_decade, text)
    text = _SHORT_YEAR.sub(
        lambda m: f"oh {cardinal(int(m[1]))}" if m[1][0] == "0" else number(m[1]), text
    )
    text = _ERA.sub(lambda m: year(int(m[1])), text)
    text = _EARLY.sub(lambda m: m[1] + year(int(m[2])), text)
    return text


def expand_years(text: str) -> str:
    """Write what is left of four digits without a comma as years; "1,984" is no year."""
    return _PLAIN_YEAR.sub(lambda match: year(int(match[1])), text)


def _full(name: str) -> str:
    """The whole name of a day or a month."""
    return next((each for each in DAYS + MONTHS if each.startswith(name[:3])), name)


def _date(month: int, day: int, written: str | None) -> str:
    said = f"{MONTHS[month - 1]} {ordinal(day)}"
    return said if written is None else f"{said}, {_year(written)}"


def _year(written: str) -> str:
    if len(written) == 4:
        return year(int(written))
    return year(int(written) + (2000 if int(written) < 50 else 1900))


def _slashed(match: re.Match[str]) -> str:
    first, mark, second, written = int(match[1]), match[2], int(match[3]), match[4]
    # With full stops the day comes first, with slashes the month, unless it cannot be one.
    month, day = (second, first) if mark == "." or first > 12 else (first, second)
    if not (1 <= month <= 12 and 1 <= day <= 31) or (mark == "." and len(written) < 4):
        return match[0]
    return _date(month, day, written)


def _month_day(match: re.Match[str]) -> str:
    month, first, last, written = match.groups()
    said = f"{_MONTH_OF[month[:3].lower()]} {ordinal(int(first))}"
    said += f" to {ordinal(int(last))}" if last else ""
    return f"{said}, {year(int(written))}" if written else said


def _day_month(match: re.Match[str]) -> str:
    _, first, last, month, written = match.groups()
    said = f"the {ordinal(int(first))}" + (f" to the {ordinal(int(last))}" if last else "")
    said = f"{said} of {_MONTH_OF[month[:3].lower()]}"
    return f"{said} {year(int(written))}" if written else said


def _clock(match: re.Match[str]) -> str:
    hour, minute, _, half = match.groups()
    said = cardinal(int(hour))
    if minute and int(minute):
        said += f" {'oh ' if int(minute) < 10 else ''}{cardinal(int(minute))}"
    after = match.string[match.end() :]
    # A last full stop that is left is the sentence's where no small letter follows.
    return f"{said} {'ay' if half in 'aA' else 'p'} m" + (" " if after[:1].isalnum() else "")


def _time(match: re.Match[str]) -> str:
    hour, minute, second = int(match[1]), int(match[2]), match[3]
    said = cardinal(hour)
    if minute or second:
        said += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    else:
        said += " o'clock" if 1 <= hour <= 12 else " hundred"
    if second:
        said += f" and {cardinal(int(second))} second" + ("" if int(second) == 1 else "s")
    return said


def _years(match: re.Match[str]) -> str:
    first, last = int(match[1]), match[2]
    if len(last) == 2:
        said = f"oh {cardinal(int(last))}" if last[0] == "0" else cardinal(int(last))
    else:
        said = year(int(last))
    return f"{year(first)} to {said}"


def _decade(match: re.Match[str]) -> str:
    century, tens = match[1], _TENS[int(match[2]) // 10]
    if century is None:
        return tens if match[2] != "00" else "two thousands"
    if match[2] == "00" and int(century) % 10 == 0:
        return f"{cardinal(int(century) // 10 * 1000)}s"
    return f"{cardinal(int(century))} {tens}"
