"""Sentence splitting: a text of any length in pieces for synthesis one by one."""

from __future__ import annotations

import re

from .english_tables import ABBREVIATIONS, BEFORE_NUMBERS, LAST_WORDS, TITLES

# A mark that may end a sentence, and what closes around it.
_MARK = re.compile(r"[.!?;:\u2026][\"')\]\u2019\u201d]*\s+")
# Abbreviations that are words, too.
_WORDS = frozenset(("min", "max", "est", "temp", "ext", "ca"))
# Before a name or a number, never the last word of a sentence.
_TITLES = frozenset((*TITLES, *(ABBREVIATIONS.keys() - _WORDS), "st"))
_BEFORE_NUMBERS = frozenset(BEFORE_NUMBERS)
# May be the last word: where a capital letter follows.
_SHORTENED = frozenset((*LAST_WORDS, *_WORDS, "a.m", "p.m"))
_LAST_WORD = re.compile(r"([^\W\d_](?:[^\W\d_]|\.(?=[^\W\d_]))*)\.\W*$")
_LETTERS = re.compile(r"\b[A-Z] [A-Z]\.\W*$")  # an acronym as it is spoken: "the U S."
_LONGEST = 240  # characters; longer pieces are split at commas, then at spaces


def sentences(text: str) -> list[str]:
    """Split a text into pieces of at most 240 characters, at the ends of sentences if possible.

    Texts that are split as they are spoken (`slm.text.normalization`) have no full stop but those
    of sentences. In others a full stop after a title ("Dr. Smith"), an initial or an abbreviation
    ends no sentence. Pieces without a letter or a digit ("...") are left out.

    Raises:
        ValueError: No piece is left.
    """
    pieces, start = [], 0
    for mark in _MARK.finditer(text):
        if _ends_sentence(text[start : mark.end()], text[mark.end() : mark.end() + 1]):
            pieces.append(text[start : mark.end()])
            start = mark.end()
    pieces.append(text[start:])
    parts = [part for piece in pieces for part in _short(piece.strip())]
    kept = [part for part in parts if any(each.isalnum() or each in "&%" for each in part)]
    if not kept:
        raise ValueError(f"expected a text with a letter or a digit, got {text[:80]!r}")
    return kept


def _ends_sentence(before: str, after: str) -> bool:
    """True if a text up to a mark and the space behind it is whole; `after` is what comes next."""
    word = _LAST_WORD.search(before)
    if word is None:  # another mark, or a number before it
        return True
    shortened = word[1].lower()
    if shortened in _TITLES:
        return False
    if shortened in _BEFORE_NUMBERS and after.isdigit():
        return False
    if shortened in _SHORTENED:
        return not after.islower()
    if _LETTERS.search(before):
        return True
    # "J. Smith", "e.g. this", "the U.S. Army"; but "Plan B. It" is taken for an initial too
    return not ("." in shortened or (len(shortened) == 1 and word[1].isupper() and word[1] != "I"))


def _short(piece: str) -> list[str]:
    """Parts of at most `_LONGEST` characters, split at a comma, else a space, else anywhere."""
    parts = []
    while len(piece) > _LONGEST:
        end = max(piece.rfind(mark, 1, _LONGEST) for mark in (", ", ",\n"))
        end = end + 1 if end > 0 else piece.rfind(" ", 1, _LONGEST)
        if end <= 0:
            end = _LONGEST
        parts.append(piece[:end].strip())
        piece = piece[end:].strip()
    return [*parts, piece]
