"""Written English as it is said: numbers, money, abbreviations; and where sentences end."""

import re

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
_MONEY = re.compile(r"([$£€])\s?(\d[\d,]*)(?:\.(\d\d))?(?!\d)")
_CURRENCY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_ORDINAL = re.compile(r"\b(\d[\d,]*)(?:st|nd|rd|th)\b", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])(-?)(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(%?)")
_SENTENCE_END = re.compile(r"(?<=[.!?;:])[\"')\]]*\s+")
_LONGEST_SENTENCE = 240  # characters; longer ones are split at commas, then at spaces


def spoken_form(text: str) -> str:
    """English text with numbers, money and common abbreviations written out.

    Years are read as numbers. Needs the `text` extra (inflect).

    Raises:
        ValueError: The package is missing.
    """
    try:
        import inflect
    except ImportError as error:
        raise ValueError(
            "expected the package inflect to write numbers out: pip install 'hh-slm[text]'"
        ) from error
    engine = inflect.engine()

    def words(digits: str) -> str:
        return str(engine.number_to_words(digits.replace(",", ""))).replace(",", "")

    def money(match: re.Match[str]) -> str:
        whole, part = _CURRENCY[match[1]]
        units = int(match[2].replace(",", ""))
        said = f"{words(match[2])} {_counted(whole, units)}"
        cents = int(match[3] or 0)
        return f"{said} and {words(str(cents))} {_counted(part, cents)}" if cents else said

    def number(match: re.Match[str]) -> str:
        said = words(match[2])
        if match[3]:
            said += " point " + " ".join(words(digit) for digit in match[3][1:])
        return f"{'minus ' if match[1] else ''}{said}{' percent' if match[4] else ''}"

    text = _ABBREVIATION.sub(lambda match: _ABBREVIATIONS[match[1].lower()], text)
    text = _MONEY.sub(money, text)
    text = _ORDINAL.sub(lambda match: str(engine.ordinal(words(match[1]))), text)
    return " ".join(_NUMBER.sub(number, text).replace("&", " and ").split())


def sentences(text: str) -> list[str]:
    """A text in pieces to be spoken one by one, none longer than 240 characters.

    Raises:
        ValueError: There is nothing to say.
    """
    pieces = [piece.strip() for piece in _SENTENCE_END.split(text) if piece.strip()]
    if not pieces:
        raise ValueError("expected a text with something to say, got none")
    return [part for piece in pieces for part in _short(piece)]


def _short(piece: str) -> list[str]:
    if len(piece) <= _LONGEST_SENTENCE:
        return [piece]
    place = max(piece.rfind(mark, 1, _LONGEST_SENTENCE) for mark in (", ", ",\n"))
    place = place + 1 if place > 0 else piece.rfind(" ", 1, _LONGEST_SENTENCE)
    if place <= 0:
        place = _LONGEST_SENTENCE
    rest = piece[place:].strip()
    return [piece[:place].strip(), *(_short(rest) if rest else [])]


def _counted(unit: str, count: int) -> str:
    if count == 1:
        return unit
    return "pence" if unit == "penny" else f"{unit}s"
