"""The front end: a text as it is spoken, in words and marks alone.

One function for every text: transcripts of a training, texts to speak, texts that speech is
compared with. What is the same in every language is in `slm.text.characters`; English has rules of
its own (`slm.text.english_*`), other languages keep numbers and abbreviations as they are written.
"""

from __future__ import annotations

import re

from .characters import clean_characters
from .english_addresses import expand_addresses
from .english_amounts import expand_amounts, expand_numbers, expand_signs
from .english_dates import expand_dates, expand_years
from .english_tables import ABBREVIATIONS, BEFORE_NUMBERS, LAST_WORDS, STREETS, TITLES
from .english_words import expand_capitals, expand_words

# Of the rules: a text model that was trained on what other rules give keeps away from these.
FRONT_END = "1"
_ENGLISH = ("", "en", "eng", "english")
# Words with one capital at most, and marks: nothing to write out in most lines of a corpus.
_WORD = r"[A-Z]?[a-z]+(?:['-][a-z]+)*"
_PLAIN = re.compile(rf"{_WORD}(?:[,;:.!?]? {_WORD})*[,;:.!?]?")
_BEFORE_STOP = re.compile(r"([A-Za-z]+)\.")
_SHORTENED = frozenset((*TITLES, *STREETS, *ABBREVIATIONS, *LAST_WORDS, *BEFORE_NUMBERS))
_SHORT = re.compile(r"\b(?:dr|mr|mrs|ms|prof|messrs|mt|st|vs|etc|[ivx]{2,})\b", re.IGNORECASE)


def normalize_text(text: str, language: str = "en") -> str:
    """Write a text as it is spoken, in words and marks; what is normalised already stays.

    Args:
        text: Any text.
        language: As manifests spell it, such as "en", "en-GB" or "de". English is written out, so
            that no digit and no sign is left; of other languages only the characters are brought
            into one form.

    Returns:
        The text on one line; empty where nothing of it is spoken.
    """
    text = clean_characters(text)
    if not is_english(language) or _is_plain(text):
        return text
    text = re.sub(r"\d", lambda match: str(int(match[0])), text)  # digits of any script
    # The more special rules come first: what they leave is words, which no later rule takes up.
    for rule in (
        expand_addresses,
        expand_dates,
        expand_words,
        expand_amounts,
        expand_years,
        expand_capitals,
        expand_numbers,
        expand_signs,
    ):
        text = rule(text)
    return text


def is_english(language: str) -> bool:
    """True if a language as manifests spell it is English."""
    return language.lower().replace("_", "-").split("-")[0] in _ENGLISH


def _is_plain(text: str) -> bool:
    """True if an English text is words already, found faster than by all rules."""
    if not _PLAIN.fullmatch(text) or _SHORT.search(text):
        return False
    return not any(word.lower() in _SHORTENED for word in _BEFORE_STOP.findall(text))
