"""Characters of a text before any language's rules: one form of each, tags and pictures left out.

Text reaches a model from web pages, PDFs, SSML and word processors. What follows is the same for
every language:

- markup (`<break/>`, `<chuckle>`, `<!-- -->`) and cues (`[laughter]`, `*sighs*`) are not words; a
  `<break>` is a pause;
- composed and decomposed accents, ligatures, full-width and mathematical letters are one (NFKC);
- invisible characters go, but a zero-width space, which parts words;
- quotes, apostrophes and hyphens of every shape are those of a typewriter;
- emoji and other pictures are left out, `unspoken` names them.
"""

from __future__ import annotations

import html
import re
import unicodedata

# A tag has a name and attributes with values; "a < b" and "<me@x.org>" have not.
_ATTRIBUTE = r"""\s+[\w:.-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)"""
_TAG = re.compile(rf"<!--.*?-->|</?([A-Za-z][\w:.-]*)(?:{_ATTRIBUTE})*\s*/?>", re.DOTALL)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});")
_BREAKS = ("break", "br", "p", "pause", "silence", "sil")
_CUE = (
    r"(?:(?:loud|soft|nervous|heavy|background|inaudible|indistinct)\s+)?"
    r"(?:laughs?|laughter|laughing|chuckles?|chuckling|giggles?|giggling|sighs?|sighing|gasps?|"
    r"gasping|coughs?|coughing|sniffs?|sniffling|sobs?|sobbing|groans?|groaning|yawns?|yawning|"
    r"breath|breaths|breathes|breathing|inhales?|exhales?|applause|cheers|cheering|music|noise|"
    r"silence|pause|crosstalk|inaudible|unintelligible|indistinct|clears throat|lip[ -]?smack|"
    r"whispers|whispering|screams|screaming|shouts|shouting|crying|cries|chatter)"
)
_CUES = re.compile(rf"\[\s*{_CUE}\s*\]|\*\s?{_CUE}\s?\*", re.IGNORECASE)
# Before NFKC, which would make two characters of some and nothing of others.
_SHAPES = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u02bb\u02bd\uff07", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02\u301d\u301e", '"'),
        **dict.fromkeys("\u2039\u203a", "'"),
        **dict.fromkeys("\u2010\u2011\ufe63", "-"),
        **dict.fromkeys("\u2012\u2013", "\u2013"),
        **dict.fromkeys("\u2014\u2015", "\u2014"),
        **dict.fromkeys("\u2044\u2215", "/"),
        **dict.fromkeys("\u2122\u00ae\u2120", None),  # (TM), (R), (SM) are not said
        "\u200b": " ",
        "\u2028": " ",
        "\u2029": " ",
        "\u2116": "No. ",
        "\u02d0": ":",
        "\u2022": " ",
        "\u00b7": " ",
    }
)
# Accents and primes that stand in for an apostrophe within a word: "it\u00b4s".
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])[\u00b4`\u2032\u02b9](?=[^\W\d_])")
_PRIMES = str.maketrans({"\u2032": "'", "\u2033": '"', "\u00b4": "'", "`": "'"})
_SUPERSCRIPT = re.compile(r"([\w)])(\u207b?[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+)")
_VULGAR = re.compile(r"(?<=\d)(?=[\u00bc-\u00be\u2150-\u215e\u2189])")
_THOUSANDS = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3}(?!\d))")
# Soft hyphens, marks of direction and selectors; joiners but in scripts that spell with them.
_INVISIBLE = re.compile(
    r"[\u00ad\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufe00-\ufe0f\U000e0000-\U000e0fff]"
    r"|(?<![\u0590-\u1cff])[\u200c\u200d]"
)
# Marks that are kept for the languages' rules or for what they pause at.
_KEPT = frozenset(
    "+<=>^|~\u2260\u2264\u2265\u2248\u00b1\u00d7\u00f7\u221a\u221e\u2212\u00b0\u2192\u00a9"
)


def clean_characters(text: str) -> str:
    """Bring a text's characters into one form; words and marks stay, spaces become single ones."""
    kept = "".join(each if _is_said(each) else " " for each in _one_form(text))
    return " ".join(kept.split())


def unspoken(text: str) -> str:
    """The pictures and signs of a text that nothing is said for, in order, each once."""
    found = (each for each in _one_form(text) if not (_is_said(each) or each.isspace()))
    return "".join(dict.fromkeys(found))


def _one_form(text: str) -> str:
    if text.isascii() and not any(each in text for each in "<[*&`\n\t"):
        return " ".join(text.split())
    text = _TAG.sub(_pause_or_nothing, text)
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = _CUES.sub(" ", text)
    text = _INVISIBLE.sub("", text)
    text = _APOSTROPHE.sub("'", text)
    # "m\u00b2" is not "m2", "2\u00bd" is not "21/2", "10\u00a0000" is one number.
    text = _SUPERSCRIPT.sub(lambda match: f"{match[1]}^{match[2]}", text)
    text = _VULGAR.sub(" ", text)
    text = _THOUSANDS.sub("", text)
    text = text.translate(_SHAPES).translate(_PRIMES)
    text = unicodedata.normalize("NFKC", text).translate(_SHAPES)
    return " ".join(text.split())


def _pause_or_nothing(match: re.Match[str]) -> str:
    """A comma for a break between words, else a space; a tag of text within a word is nothing."""
    before, after = match.string[: match.start()], match.string[match.end() :]
    name = (match[1] or "").lower()
    if name in _BREAKS:
        return ", " if before.rstrip()[-1:].isalnum() and after.strip() else " "
    return " "


def _is_said(character: str) -> bool:
    """True if a character is a letter, a digit, a space or a mark that rules know."""
    if character.isalnum() or character in _KEPT or character == " ":
        return True
    kind = unicodedata.category(character)
    # Accents that no letter takes up, vowel signs, punctuation, currencies.
    return kind[0] in "MP" or kind == "Sc"
