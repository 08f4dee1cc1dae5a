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
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from .lexicon import PHONES, Lexicon
from .normalization import is_english, normalize_text

PAUSE_ID = 0
UNIT_COUNT = 1 + 2 * len(PHONES)
MAX_DURATION = 32  # codes, 1.4 s at 23.4 a second; longer phones become several units
DURATION_START = UNIT_COUNT
PAUSE = ","
_INDEX_OF = {phone: index for index, phone in enumerate(PHONES)}
# Letters that no accent is taken off of.
_LETTERS = str.maketrans(
    {
        **{"\u00df": "ss", "\u00e6": "ae", "\u0153": "oe", "\u00f8": "o", "\u0142": "l"},
        **{"\u0111": "d", "\u00f0": "th", "\u00fe": "th", "\u0131": "i", "\u0127": "h"},
    }
)
# A word with letters of any script; or a mark that speakers pause at.
_ITEM = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*'?|[,;:.!?()\u2026\u2013\u2014]|--| - ")


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

    def spoken(self, text: str, language: str = "en") -> str:
        """The text as it is spoken; see `slm.text.normalization.normalize_text`.

        Raises:
            ValueError: Another language than English, the one of the phones.
        """
        if not is_english(language):
            raise ValueError(
                f"expected English text for a text model of English phones, got {language!r}"
            )
        return normalize_text(text)

    def encode(self, text: str, language: str = "en") -> list[int]:
        """Units of a text, in [0, UNIT_COUNT): a pause, its words and the pauses of its marks.

        Args:
            text: As it is written or as it is spoken.
            language: English, as manifests spell it.

        Raises:
            ValueError: No word in it, one that cannot be pronounced, or another language.
        """
        spoken = self.spoken(text, language)
        # A pause at both ends, as in alignments.
        units = [PAUSE_ID]
        for item in words_and_pauses(spoken):
            pause = item == PAUSE
            units += [PAUSE_ID] if pause else word_units(self.lexicon.phones(item))
        if len(units) == units.count(PAUSE_ID):
            raise ValueError(f"expected text with at least one word, got {text!r}")
        return units if units[-1] == PAUSE_ID else [*units, PAUSE_ID]

    def unknown_characters(self, text: str, language: str = "en") -> str:
        """The letters of `text` other than a to z, in order, each once; raises as `spoken`."""
        found = (
            c for c in self.spoken(text, language).lower() if c.isalpha() and not "a" <= c <= "z"
        )
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
    """True if a unit is the first phone of a word."""
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
    """Lower-case words of a text as it is spoken, and `PAUSE` at punctuation marks.

    Accents are taken off, hyphens part words. Never two pauses in a row, nor one at the start.
    """
    text = normalize_text(text).lower()
    if not text.isascii():
        parts = unicodedata.normalize("NFD", text.translate(_LETTERS))
        text = "".join(each for each in parts if unicodedata.category(each) != "Mn")
    items: list[str] = []
    for item in _ITEM.findall(text):
        if item[0].isalpha():
            items.append(item)
        elif items and items[-1] != PAUSE:
            items.append(PAUSE)
    return items
