"""E-mail and web addresses, handles, file names and telephone numbers as they are said."""

from __future__ import annotations

import re

from .english_numbers import digits
from .english_tables import FILE_ENDINGS, TOP_DOMAINS
from .english_words import letters, spoken_name

_EMAIL = re.compile(r"(?<![\w.])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(r"\b(?:https?|ftp)://[^\s<>\"()]+|\bwww\.[^\s<>\"()]+", re.IGNORECASE)
_DOMAIN = re.compile(
    rf"(?<![\w.@-])(?:[A-Za-z\d][\w-]*\.)+(?:{TOP_DOMAINS})(?![\w.]*\w)(?:/[^\s<>\"()]*)?"
)
_FILE = re.compile(rf"(?<![\w.])([\w-]+)\.({FILE_ENDINGS})\b")
_HANDLE = re.compile(r"(?<![\w@])@(?=[A-Za-z_]\w)")
_HASHTAG = re.compile(r"(?<![\w#])#([A-Za-z]\w+)")
_ADDRESS_PARTS = re.compile(r"[^\W_]+|.", re.DOTALL)
_MARKS = {
    ".": "dot",
    "@": "at",
    "/": "slash",
    ":": "colon",
    "-": "dash",
    "_": "underscore",
    "+": "plus",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    "%": "percent",
    "~": "tilde",
    ",": "comma",
    ";": "semicolon",
    "!": "exclamation mark",
    "*": "star",
    "$": "dollar",
    "'": "apostrophe",
}
_PHONE = re.compile(
    r"(?<![\w.,$£€-])(?:"
    r"\+\d{1,3}[ .-]?(?:\(?\d{1,5}\)?[ .-]?){1,5}\d{2,}"  # +44 20 7946 0958
    r"|(?:1[ .-])?\(\d{3}\)\s?\d{3}[ .-]\d{4}"  # (555) 123-4567
    r"|(?:1[ .-])?\d{3}[ .-]\d{3}[ .-]\d{4}"  # 1-800-555-0199
    r"|\d{3}-\d{4}"  # 555-1234
    r"|0\d{2,4}[ -]\d{3,4}(?:[ -]\d{3,4})*"  # 0800 123 456
    r"|\d{3}-\d{2}-\d{4}"
    r"|\d{4}(?:[ -]\d{4}){3}"  # a card
    r"|\d{1,3}(?:\.\d{1,3}){3}"  # 192.168.0.1
    r")(?![\w]|[.,]\d|-\d)"
)
_POSTCODE = re.compile(r"(?<=, )([A-Z]{2}) (\d{5})(?:-(\d{4}))?\b")


def expand_addresses(text: str) -> str:
    """Write addresses and telephone numbers in words; no sign of them is left."""
    text = _EMAIL.sub(lambda match: _address(match[0]), text)
    text = _URL.sub(lambda match: _address(match[0]), text)
    text = _DOMAIN.sub(lambda match: _address(match[0]), text)
    text = _FILE.sub(lambda match: f"{match[1]} dot {spoken_name(match[2])}", text)
    text = _HANDLE.sub("at ", text)
    text = _HASHTAG.sub(r"hashtag \1", text)
    text = _POSTCODE.sub(
        lambda match: f"{letters(match[1])} {digits(match[2] + (match[3] or ''))}", text
    )
    return _PHONE.sub(_phone, text)


def _address(address: str) -> str:
    # Marks behind an address are the sentence's.
    whole = address.rstrip(".,;:!?'")
    said = []
    for part in _ADDRESS_PARTS.findall(whole):
        said.append(spoken_name(part) if part.isalnum() else _MARKS.get(part, ""))
    end = address[len(whole) :]
    return " ".join(each for each in said if each) + end


def _phone(match: re.Match[str]) -> str:
    """Digits one by one, with a pause between groups; numbers of an IP address with "dot"."""
    groups = re.findall(r"\d+", match[0])
    dotted = re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", match[0])
    if dotted:
        return " dot ".join(map(digits, groups))
    return ("plus " if match[0][0] == "+" else "") + ", ".join(map(digits, groups))
