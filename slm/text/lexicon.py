"""Pronunciation lexicon for English: a dictionary of phones, letter-to-sound rules for the rest.

The phones are the 39 of ARPAbet without stress, as in the CMU pronouncing dictionary.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from codec.files import write_bytes
from codec.files.reading import read_file

from .letter_to_sound import apply_rules, learn_rules

LEXICON_NAME = "lexicon.xz"
# The order is a layout: tokens of stored models count on it.
PHONES: tuple[str, ...] = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH"),
    *("IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH"),
    *("UH", "UW", "V", "W", "Y", "Z", "ZH"),
)
# Of a lexicon when unpacked: millions of words, and too few to fill a memory.
_MOST_BYTES = 1 << 28
# Words without a vowel that are said as they are written.
_INTERJECTIONS = frozenset(
    (
        "tsk",
        "psst",
        "pst",
        "pfft",
        "brr",
        "brrr",
        "grr",
        "grrr",
        "zzz",
        "hmm",
        "hm",
        "mm",
        "mmm",
        "shh",
        "sh",
        "nth",
    )
)
_FORMAT = "hh-slm lexicon 1"
_WORDS, _RULES = "[words]", "[rules]"


class Lexicon:
    """Maps a lower-case word to phones; every word with a letter in it has some.

    Args:
        words: Pronunciations by lower-case word, phone by phone or with a space between phones.
        rules: See `slm.text.letter_to_sound.learn_rules`.
        notice: Copyright notice of the dictionary; stored with it.

    Attributes:
        words: Pronunciations with a space between phones: of more than a hundred thousand words a
            text needs some dozen, so they are split when looked up.

    Raises:
        ValueError: A pronunciation is empty or holds something that is not in `PHONES`.
    """

    def __init__(
        self,
        words: Mapping[str, str | Sequence[str]],
        rules: Mapping[str, tuple[str, ...]] | None = None,
        notice: str = "",
    ) -> None:
        self.words = {w: p if type(p) is str else " ".join(p) for w, p in words.items()}
        self.rules = dict(rules or {})
        self.notice = notice
        known = set(PHONES)
        # All at once first, which is much faster than word by word.
        if "" in self.words.values() or not known.issuperset(" ".join(self.words.values()).split()):
            for word, phones in self.words.items():
                if not phones or not known.issuperset(phones.split()):
                    expected = f"expected phones of {sorted(known)} for {word!r}"
                    raise ValueError(f"{expected}, got {phones.split()}")

    @classmethod
    def learn(cls, words: Mapping[str, Sequence[str]], notice: str = "") -> Lexicon:
        """A lexicon whose rules are learnt from its own words."""
        return cls(words, learn_rules(words), notice)

    def __contains__(self, word: str) -> bool:
        return word in self.words

    def phones(self, word: str) -> tuple[str, ...]:
        """Phones of a lower-case word: the dictionary's, else a stem's and its ending, else rules.

        Raises:
            ValueError: Nothing of the word can be pronounced.
        """
        found = self._listed(word) or self._possessive(word) or self._by_rules(word)
        if not found:
            raise ValueError(f"expected a word written in the letters a to z, got {word!r}")
        return found

    @property
    def fingerprint(self) -> str:
        """Hex digest of words and rules."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:16]

    def save(self, folder: Path | str) -> Path:
        """Write `folder`/lexicon.xz, whole or not at all, and return its path."""
        content = lzma.compress(self._text().encode(), preset=9)
        return write_bytes(Path(folder) / LEXICON_NAME, content)

    @classmethod
    def load(cls, path: Path | str) -> Lexicon:
        """Load from a `lexicon.xz` file or a folder that holds one.

        Raises:
            ValueError: There is no such file, or it has another format.
        """
        path = Path(path)
        path = path / LEXICON_NAME if path.is_dir() else path
        if not path.is_file():
            raise ValueError(f"expected a lexicon at {path}, found no file")
        try:
            lines = _unpacked(path).decode().removesuffix("\n").split("\n")
            if lines[0] != _FORMAT:
                raise ValueError(f"begins with {lines[0]!r:.40}")
            start, stop = lines.index(_WORDS), lines.index(_RULES)
        except (lzma.LZMAError, UnicodeDecodeError, IndexError, ValueError) as error:
            raise ValueError(f"expected {path} of format {_FORMAT!r}: {error}") from error
        notice = "\n".join(line.removeprefix("# ") for line in lines[1:start])
        # Words as they are: few of them will be looked up.
        words, rules = _pairs(lines[start + 1 : stop]), _pairs(lines[stop + 1 :])
        return cls(words, {key: tuple(phones.split()) for key, phones in rules.items()}, notice)

    def _text(self) -> str:
        notice = [f"# {line}" for line in self.notice.split("\n")] if self.notice else []
        words = [f"{word}\t{phones}" for word, phones in sorted(self.words.items())]
        rules = [f"{key}\t{' '.join(phones)}" for key, phones in sorted(self.rules.items())]
        return "\n".join([_FORMAT, *notice, _WORDS, *words, _RULES, *rules, ""])

    def _listed(self, word: str) -> tuple[str, ...]:
        return tuple(self.words.get(word, "").split())

    def _possessive(self, word: str) -> tuple[str, ...]:
        """A word of the dictionary and its "'s", which dictionaries leave out now and then."""
        stem, mark, ending = word.rpartition("'")
        phones = self._listed(stem)
        if not (mark and phones and ending in ("", "s")):
            return ()
        if not ending:
            return phones
        if phones[-1] in ("S", "Z", "SH", "ZH", "CH", "JH"):  # sibilants: "boss's"
            return (*phones, "IH", "Z")
        return (*phones, "S" if phones[-1] in ("P", "T", "K", "F", "TH") else "Z")

    def _by_rules(self, word: str) -> tuple[str, ...]:
        letters = "".join(letter for letter in word if letter.isalpha())
        # Rules would leave letters of another alphabet out.
        if not letters.isascii():
            return ()
        named = tuple(phone for letter in letters for phone in self._listed(letter))
        # Without a vowel letter by letter, where the dictionary names all letters.
        is_named = letters not in _INTERJECTIONS and all(map(self._listed, letters))
        if is_named and not set(letters) & set("aeiouy"):
            return named
        return tuple(apply_rules(letters, self.rules)) or named


def read_dictionary(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Words of a dictionary in CMU's format: `word PH PH`, variants as `word(2)` left out.

    Phones with stress marks lose them.
    """
    words: dict[str, tuple[str, ...]] = {}
    for line in lines:
        word, *phones = line.split("#")[0].split() or [";;;"]
        if phones and not word.startswith(";;;") and not word.endswith(")"):
            words.setdefault(word.lower(), tuple(phone.rstrip("012") for phone in phones))
    return words


def _unpacked(path: Path) -> bytes:
    """Contents of an .xz file; ValueError where it is cut, or far larger than any lexicon."""
    unpacking = lzma.LZMADecompressor()
    content = unpacking.decompress(read_file(path), max_length=_MOST_BYTES)
    if not unpacking.eof:
        what = "cut short" if unpacking.needs_input else f"larger than {_MOST_BYTES} bytes"
        raise ValueError(f"{what} when unpacked")
    return content


def _pairs(lines: list[str]) -> dict[str, str]:
    """Phones by what stands before the tab of each line; '' for lines without one."""
    if {line.count("\t") for line in lines} <= {1}:
        # A hundred thousand lines: as one string, so that no object is made but the words.
        flat = "\t".join(lines).split("\t")
        return dict(zip(flat[::2], flat[1::2], strict=True)) if lines else {}
    return {line.partition("\t")[0]: line.partition("\t")[2] for line in lines}
