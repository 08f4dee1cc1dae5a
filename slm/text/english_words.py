"""English abbreviations, Roman numerals, acronyms and letters, written as they are said."""

from __future__ import annotations

import re

from .english_numbers import cardinal, ordinal, roman, short_number
from .english_tables import (
    ABBREVIATIONS,
    BARE_TITLES,
    BEFORE_LETTERS,
    BEFORE_NUMBERS,
    CODAS,
    DOTTED,
    KINGS,
    LAST_WORDS,
    NOT_STREETS,
    ONSETS,
    PARTS,
    SAID_AS,
    SHORT_WORDS,
    SPELLED,
    STARTERS,
    STREETS,
    TITLES,
)

_COUNTED = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_DOTTED = re.compile(
    r"(?<![\w.@])((?:[A-Za-z]\.){1,}[A-Za-z])\.(?![A-Za-z])|(?<![\w.])(Ph)\.?D\b\.?"
)
_INITIAL = re.compile(r"(?<![\w.'])([A-Z])\.(?=\s*(?:[A-Z]\.\s*)*[A-Z][a-z'])")
_STREET = re.compile(
    rf"(?<!\w)(\d{{1,6}}[A-Z]?\s(?:[NSEW]\.?\s)?)?\b([A-Z][a-z]{{1,30}}|\d{{1,4}}(?:st|nd|rd|th))\s"
    rf"({'|'.join(STREETS)})\b(\.?)(?=(\s+(?-i:[A-Z]))?)",
    re.IGNORECASE,
)
_SAINT = re.compile(r"\b(?:St|ST)\b(?:\.\s*|\s+)(?=[A-Z])")
# Not behind a number: "5 ft. tall". Only some stand before small letters: "the Dr. is in".
_TITLE = re.compile(
    rf"(?<!\d)(?<!\d\s)\b(?:(dr|mrs?|ms|prof|messrs)|({'|'.join(TITLES)})(?=\.\s*(?-i:[A-Z])))\.",
    re.IGNORECASE,
)
_BARE_TITLE = re.compile(rf"\b({'|'.join(t for t in BARE_TITLES if t != 'st')})(?=\s+[A-Z])", re.I)
_BEFORE_NUMBER = re.compile(
    rf"\b({'|'.join(BEFORE_NUMBERS)})\.\s*(?=\d|(?-i:(?:{_COUNTED})\b))", re.IGNORECASE
)
_ABBREVIATION = re.compile(rf"(?<!\d)(?<!\d\s)\b({'|'.join(ABBREVIATIONS)})\.", re.IGNORECASE)
_LAST_WORD = re.compile(rf"\b({'|'.join(LAST_WORDS)})\.", re.IGNORECASE)
_BARE = re.compile(r"\b(vs|etc)\b(?!\.)", re.IGNORECASE)
_COMPARED = re.compile(r"(?<=[a-z]) v\.? (?=[A-Z])")
_WITH = re.compile(r"(?<![\w/])(w/o|w/)(?=\s|[a-z])\s*")
_ROMAN = r"[IVXLCDM]+"
_REIGN = re.compile(
    rf"\b([A-Z][a-zé]+|[A-Z]{{3,}})\s+({_ROMAN})(?=['’]s\b|\s*[,.;:!?)\"]|\s*$|\s+[a-z]|\s+[A-Z][a-z])"
)
_PART = re.compile(
    rf"\b((?i:{PARTS})s?)\s+({_ROMAN}|[ivx]+)\b((?:\s+(?:and|to|or)\s+|\s*[-–,]\s*)({_ROMAN})\b)?"
)
_CENTURY = re.compile(rf"\b({_ROMAN})(?:th|st|nd|rd)?(?=(?:\s+|-)(?i:century|centuries)\b)")
_ANY_ROMAN = re.compile(
    r"(?<![\w.'-])(X{0,3}(?:IX|VI{1,3}|I{2,3})|X{1,3}IV|X{1,2}VI{0,3})(?![\w'])"
)
_IN_BRACKETS = re.compile(r"(?<=\()([ivx]+)(?=\))")
_CAPITALS = re.compile(r"(?<![\w'])([A-Z]{2,})('?s)?(?![\w])")
_ENDS_IN_CAPITALS = re.compile(r"\b([A-Z]?[a-z]{2,})([A-Z]{2,})\b")
_JOINED = re.compile(r"(?<![\w'])([A-Z]{1,3})\s?&\s?([A-Z]{1,3})(?![\w])")
_MIXED = re.compile(r"(?<![\w'])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])([A-Za-z\d]+)(?![\w])")
_LETTER_A = re.compile(rf"\b((?i:{BEFORE_LETTERS})\s+)A(?![\w'])")
_NO_VOWELS = re.compile(r"[^aeiouyAEIOUY]+")


def expand_words(text: str) -> str:
    """Write the abbreviations and Roman numerals of a text out; digits are left alone."""
    text = _WITH.sub(lambda match: "without " if match[1] == "w/o" else "with ", text)
    text = re.sub(r"\band/or\b", "and or", text)
    text = re.sub(r"(?<=\w)\s'?n'?\s(?=\w)", lambda m: " and " if "'" in m[0] else m[0], text)
    text = _DOTTED.sub(_dotted, text)
    text = _BEFORE_NUMBER.sub(lambda match: f"{BEFORE_NUMBERS[match[1].lower()]} ", text)
    text = _STREET.sub(_street, text)
    text = _SAINT.sub("saint ", text)
    text = _TITLE.sub(lambda match: TITLES[(match[1] or match[2]).lower()], text)
    text = _BARE_TITLE.sub(lambda match: TITLES[match[1].lower()], text)
    text = _ABBREVIATION.sub(_abbreviation, text)
    text = _LAST_WORD.sub(lambda match: LAST_WORDS[match[1].lower()] + _stop(match), text)
    text = _BARE.sub(lambda match: (ABBREVIATIONS | LAST_WORDS)[match[1].lower()], text)
    text = _COMPARED.sub(" versus ", text)
    text = _INITIAL.sub(_initial, text)
    return _roman_numerals(text)


def expand_capitals(text: str) -> str:
    """Part acronyms into their letters; letters with digits beside them ("B2B", "A4") too."""
    # A text without a small letter shouts, or is a transcript in capitals: its words are words.
    words = [] if any(each.islower() for each in text) else re.findall(r"[A-Z]{2,}", text)
    shouts = len(words) > 2 and sum(map(is_word, words)) > len(words) / 2
    text = _JOINED.sub(lambda match: f"{letters(match[1])} and {letters(match[2])}", text)
    text = re.sub(r"\bC#", "C sharp", text)
    text = _MIXED.sub(_mixed, text)
    text = _ENDS_IN_CAPITALS.sub(r"\1 \2", text)
    text = _CAPITALS.sub(lambda match: _acronym(match, shouts), text)
    return _LETTER_A.sub(lambda match: f"{match[1]}ay", text)


def letters(text: str) -> str:
    """Letters apart, in capitals; the first of the alphabet as "ay", which is no article."""
    return " ".join("ay" if each in "aA" else each.upper() for each in text)


def is_word(text: str) -> bool:
    """True if letters can be said as an English word, by the consonants at both ends."""
    word = text.lower()
    if not re.search(r"[aeiouy]", word) or re.fullmatch(r"[aeiou]+", word):
        return False
    if word.startswith("mc") and len(word) > 4:
        return True
    onset = re.match(r"[^aeiouy]*", word)
    coda = re.search(r"[^aeiouy]*$", word)
    assert onset is not None
    assert coda is not None
    return onset[0] in {"", *ONSETS} and coda[0] in {"", *CODAS}


def spoken_name(name: str) -> str:
    """A part of an address: words as they are, other letters apart, numbers in words."""
    parts = re.findall(r"[^\W\d_]+|\d+", name)
    said = []
    for part in parts:
        if part.isdigit():
            said.append(short_number(part))
        elif len(part) == 1 or not is_word(part) or part.upper() in SPELLED | {"UK", "EU", "AI"}:
            said.append(SAID_AS.get(part.upper(), letters(part)))
        else:
            said.append(part)
    return " ".join(said)


def _stop(match: re.Match[str]) -> str:
    """The full stop of an abbreviation where it is the sentence's, too."""
    after = match.string[match.end() :]
    if not after.strip("\"') "):
        return "."
    following = re.match(r"[\"')]*\s+[\"'(]*([A-Za-z]+)", after)
    if following is None or not following[1][0].isupper():
        return ""
    # "Inc. He left": before a name ("Inc. Magazine") it is not
    is_new = match[0].lower() == "etc." or following[1].lower() in STARTERS
    return "." if is_new else ""


def _dotted(match: re.Match[str]) -> str:
    if match[2]:
        return "P H D" + (_stop(match) if match[0].endswith(".") else "")
    name = match[1].lower()
    if name in ("a.m", "p.m"):
        # Before a name of a day or a sentence; small letters and digits go on.
        after = match.string[match.end() :].lstrip()
        ends = not after or after[0].isupper()
        return letters(name).replace("P M", "p m").replace("ay M", "ay m") + ("." if ends else "")
    if name in DOTTED:
        return DOTTED[name]
    return letters(name.replace(".", "")) + _stop(match)


def _abbreviation(match: re.Match[str]) -> str:
    # "at the max." ends a sentence
    if match[1].lower() in ("min", "max", "est", "temp", "ext"):
        return ABBREVIATIONS[match[1].lower()] + _stop(match)
    return ABBREVIATIONS[match[1].lower()]


def _street(match: re.Match[str]) -> str:
    house, name, kind, stop, capital = match.groups()
    is_name = (name[0].isupper() and name.lower() not in NOT_STREETS) or name[0].isdigit()
    # A saint or a doctor has a name behind, unless a house number stands before.
    is_person = kind.lower() in ("st", "dr") and capital is not None and house is None
    is_person = is_person and not name[0].isdigit()
    if not is_name or is_person or not kind[0].isupper() or not (stop or house):
        return match[0]
    end = _stop(match) if stop else ""
    return f"{house or ''}{name} {STREETS[kind.lower()]}{end}"


def _initial(match: re.Match[str]) -> str:
    """An initial of a name without its full stop; "Plan B. It" keeps it."""
    after = re.match(r"\s*([A-Z][a-z']*)", match.string[match.end() :])
    if after is not None and after[1].lower() in STARTERS and len(after[1]) > 1:
        return match[0]
    space = "" if match.string[match.end() : match.end() + 1] == " " else " "
    return ("ay" if match[1] == "A" else match[1]) + space


def _roman_numerals(text: str) -> str:
    text = _CENTURY.sub(
        lambda match: ordinal(roman(match[1])) if roman(match[1]) else match[0], text
    )
    text = _PART.sub(_part, text)
    text = _REIGN.sub(_reign, text)
    text = _ANY_ROMAN.sub(lambda match: cardinal(roman(match[1])), text)
    return _IN_BRACKETS.sub(
        lambda match: cardinal(roman(match[1].upper())) if roman(match[1].upper()) else match[0],
        text,
    )


def _part(match: re.Match[str]) -> str:
    """The number of a part, of two parts or of none: "Chapter IV", "parts I and II"."""
    value = roman(match[2].upper())
    after = match.string[match.end(2) :]
    # "this part I like": a pronoun goes on with a small letter
    pronoun = match[2] == "I" and match[3] is None and re.match(r"\s+[a-z]|'", after)
    is_name = match[1][0].isupper() or match[3] is not None
    if not value or (match[2] == "I" and not is_name) or (pronoun and not _is_heading(match)):
        return match[0]
    if match[3] is None:
        return f"{match[1]} {cardinal(value)}"
    between = match[3][: -len(match[4])].replace("-", " to ").replace("–", " to ")
    other = cardinal(roman(match[4])) if roman(match[4]) else match[4]
    return " ".join(f"{match[1]} {cardinal(value)}{between} {other}".split())


def _is_heading(match: re.Match[str]) -> bool:
    """True if a part has a name that an "I" numbers, whatever follows: "World War I began"."""
    return match[1][0].isupper() and match[1].lower() in ("war", "act", "chapter", "phase", "type")


def _reign(match: re.Match[str]) -> str:
    name, value = match[1], roman(match[2])
    is_king = name.capitalize() in KINGS
    if not value or not is_king or value > 40:
        return match[0]
    after = match.string[match.end() :].lstrip()
    if match[2] == "I" and re.match(r"[a-z]", after) and not re.match(r"(of|and|was|is)\b", after):
        return match[0]
    return f"{name} the {ordinal(value)}"


def _acronym(match: re.Match[str], shouts: bool) -> str:
    name, ending = match[1], match[2] or ""
    if name in SAID_AS and not (shouts and name != "OK"):
        return SAID_AS[name] + ending
    if shouts:
        spelled = not is_word(name) and re.fullmatch(_NO_VOWELS, name) is not None
    elif len(name) == 2:
        spelled = name not in SHORT_WORDS
    else:
        spelled = name in SPELLED or not is_word(name)
    if not spelled:
        return match[0]
    return letters(name) + (f"'{ending.lstrip(chr(39))}" if ending else "")


def _mixed(match: re.Match[str]) -> str:
    """Letters and digits in one: "A4", "B2B", "x86", "MP3"."""
    said = []
    for run in re.findall(r"[A-Za-z]+|\d+", match[1]):
        if run.isdigit():
            said.append(short_number(run))
        elif len(run) == 1 or not is_word(run) or (run.isupper() and len(run) < 4):
            said.append(letters(run))
        else:
            said.append(run)
    return " ".join(said)
