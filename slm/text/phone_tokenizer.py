"""Phone tokenizer: text as phones and pauses, for models trained on aligned speech.

Ids are units of speech and, behind them, durations:

    0           a pause
    1 .. 39     a phone within a word
    40 .. 78    the same phones at the start of a word
    79 + n      a duration of n codes of the unit before, n in [0, 32]
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .lexicon import PHONES, Lexicon
from .normalization import normalize_text

PAUSE_ID = 0
UNIT_COUNT = 1 + 2 * len(PHONES)
MAX_DURATION = 32  # codes, 1.4 s at 23.4 a second; longer phones become several units
DURATION_START = UNIT_COUNT
PAUSE = ","
_INDEX_OF = {phone: index for index, phone in enumerate(PHONES)}
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})
# A word with letters of any script; or a mark that speakers pause at.
_ITEM = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*'?|[,;:.!?()\u2026\u2013\u2014]|--| - ")
# Characters that have no pronunciation before they are written out.
_WRITTEN = re.compile(r"[\d$\u00a3\u20ac&%]")


class PhoneTokenizer:
    """Maps a text to units of speech: phones with the starts of words marked, and pauses.

    Used in place of `TextTokenizer` by models that are trained on aligned speech.

    Args:
        lexicon: Pronunciations of words.
    """

    vocab_size = DURATION_START + MAX_DURATION + 1

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    @classmethod
    def load(cls, path: Path | str) -> PhoneTokenizer:
        """Load a lexicon from a file or a folder that holds one.

        Raises:
            ValueError: There is none.
        """
        return cls(Lexicon.load(path))

    def save(self, folder: Path | str) -> Path:
        """Write the lexicon into `folder` and return its path."""
        return self.lexicon.save(folder)

    @property
    def fingerprint(self) -> str:
        """Hex digest of the layout of units, not of the lexicon, which may grow."""
        layout = f"phones 1 {' '.join(PHONES)} {MAX_DURATION}"
        return hashlib.sha256(layout.encode()).hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """Units of a text, in [0, UNIT_COUNT): a pause, its words and the pauses of its marks.

        Raises:
            ValueError: No word in it, or one that cannot be pronounced.
        """
        # A pause at both ends, as in alignments.
        units = [PAUSE_ID]
        for item in words_and_pauses(text):
            pause = item == PAUSE
            units += [PAUSE_ID] if pause else word_units(self.lexicon.phones(item))
        if len(units) == units.count(PAUSE_ID):
            raise ValueError(f"expected text with at least one word, got {text!r}")
        return units if units[-1] == PAUSE_ID else [*units, PAUSE_ID]

    def unknown_characters(self, text: str) -> str:
        """The letters of `text` other than a to z, in order, each once."""
        found = (c for c in text.lower() if c.isalpha() and not "a" <= c <= "z")
        return "".join(dict.fromkeys(found))

    def decode(self, ids: Iterable[int]) -> str:
        """Units in words: phones, a space before each word, a comma for a pause."""
        names = []
        for unit in ids:
            if unit == PAUSE_ID:
                names.append(PAUSE)
            elif unit < UNIT_COUNT:
                phone = PHONES[(unit - 1) % len(PHONES)]
                names.append(f" {phone}" if unit > len(PHONES) else f"-{phone}")
        return "".join(names).strip()


def is_word_start(unit: int) -> bool:
    """Whether a unit is the first phone of a word."""
    return unit > len(PHONES)


def word_units(phones: Sequence[str]) -> list[int]:
    """Units of a word's phones.

    Raises:
        ValueError: Something is not in `PHONES`.
    """
    unknown = [phone for phone in phones if phone not in _INDEX_OF]
    if unknown:
        raise ValueError(f"expected phones of {PHONES}, got {unknown}")
    # The first phone of a word has an id of its own.
    first = 1 + len(PHONES)
    return [(1 if index else first) + _INDEX_OF[phone] for index, phone in enumerate(phones)]


def words_and_pauses(text: str) -> list[str]:
    """Lower-case words of a text in their order, and `PAUSE` at punctuation marks.

    Numbers, money and abbreviations before numbers are written out (needs the extra `text`);
    hyphens part words. Never two pauses in a row, nor one at the start.
    """
    if _WRITTEN.search(text):
        text = normalize_text(text)
    items: list[str] = []
    for item in _ITEM.findall(text.translate(_APOSTROPHES).lower()):
        if item[0].isalpha():
            items.append(item)
        elif items and items[-1] != PAUSE:
            items.append(PAUSE)
    return items
