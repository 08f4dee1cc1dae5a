"""Normalisers of texts before words are compared, by the names of their protocols."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module

from codec.checks import one_of

# What seed-tts-eval deletes: ASCII marks but the apostrophe, and the marks of Chinese typography
# that the package zhon lists, among them the dashes, quotes and ellipsis of English.
_CHINESE_MARKS = (
    *range(0xFF01, 0xFF10),  # full-width ASCII
    *range(0xFF1A, 0xFF21),
    *range(0xFF3B, 0xFF41),
    *range(0xFF5B, 0xFF65),
    *(0x3000, 0x3001, 0x3002, 0x3003),
    *range(0x3008, 0x3012),  # brackets
    *range(0x3014, 0x3020),
    *(0x3030, 0x303E, 0x303F),
    *(0x2013, 0x2014),  # dashes
    *(0x2018, 0x2019, 0x201B, 0x201C, 0x201D, 0x201E, 0x201F),  # quotes
    *(0x2026, 0x2027, 0xFE4F, 0xFE51, 0xFE54, 0x00B7),
)
_FULL_STOP = 0xFF0E  # full width; not in the list
_SEEDTTS_MARKS = {
    code: None
    for code in (*map(ord, string.punctuation), *_CHINESE_MARKS)
    if code not in (ord("'"), _FULL_STOP)
}
# Zero-width joiners change how letters are drawn, not which word they spell.
_JOINERS = "\u200c\u200d"
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})


def _folded(text: str) -> str:
    """Lower case, one kind of apostrophe and one form of every letter."""
    return unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower()


def _spelled(text: str, kept: str, other: str) -> str:
    """Keep letters, digits, the vowel signs and accents after them, and `kept`; replace the rest.

    Signs of Indic and Thai vowels are no letters to Unicode, but part of words all the same.
    """
    found: list[str] = []
    in_word = False
    for character in text:
        if character in _JOINERS:
            continue
        in_word = character.isalnum() or (in_word and _is_sign(character))
        found.append(character if in_word or character in kept else other)
    return "".join(found)


def _is_sign(character: str) -> bool:
    """True if a character is a mark that combines with a letter; variation selectors are not."""
    is_selector = "\ufe00" <= character <= "\ufe0f"
    return unicodedata.category(character) in ("Mn", "Mc") and not is_selector


def _basic(text: str) -> str:
    """Lower case; every mark but the apostrophe within a word becomes a space."""
    letters = _spelled(_folded(text), "'", " ")
    # Apostrophes must have something of a word at either side.
    return " ".join(re.sub(r"(?<![^\s'])'|'(?![^\s'])", " ", letters).split())


def _words_joined(text: str) -> str:
    """As `basic`, but hyphens and other marks are deleted, so "well-known" is one word."""
    return " ".join(_spelled(_folded(text), "' ", "").split())


def _seedtts(text: str) -> str:
    """As the seed-tts-eval protocol for English: marks deleted but ', lower case, no numbers.

    The typographic apostrophe is deleted, too: "don\u2019t" becomes "dont".
    """
    return " ".join(text.translate(_SEEDTTS_MARKS).lower().split())


@lru_cache(maxsize=1)
def _whisper_rules() -> Callable[[str], str]:
    """Load the published rules from the package whisper-normalizer."""
    return import_module("whisper_normalizer.english").EnglishTextNormalizer()


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "basic": _basic,
    "joined": _words_joined,
    "seedtts": _seedtts,
    # as the Whisper paper for English: numbers, contractions and spellings made alike
    "whisper_en": lambda text: _whisper_rules()(text),
}
# Names in ids where a definition changed: `seedtts` kept typographic marks before.
NORMALIZER_IDS = {"seedtts": "seedtts2"}
# (distribution, version prefix) pairs that a normaliser needs.
NORMALIZER_PACKAGES = {"whisper_en": (("whisper-normalizer", "0.1."),)}


def normalize_text(text: str, normalizer: str = "basic") -> str:
    """Normalize a text for comparison, words parted by single spaces.

    Args:
        text: Any text, as published or as recognised.
        normalizer: "basic" (hyphens part words), "joined" (hyphens are deleted), "seedtts" (that
            of seed-tts-eval) or "whisper_en" (that of Whisper; needs whisper-normalizer). Only the
            last makes numbers alike. The name is part of a WER's id: it changes the number.

    Raises:
        ValueError: Unknown normaliser.
    """
    one_of("normalizer", normalizer, sorted(NORMALIZERS))
    return NORMALIZERS[normalizer](text)
