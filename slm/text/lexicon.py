"""How English words are said: a dictionary of phones, and letter-to-sound rules for the rest.

The phones are the 39 of ARPAbet without stress, as in the CMU pronouncing dictionary.
"""

import hashlib
import lzma
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .letter_to_sound import apply_rules, learn_rules

LEXICON_NAME = "lexicon.xz"
# The order is a layout: tokens of stored models count on it.
PHONES: tuple[str, ...] = (
    *("AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH"),
    *("IH", "IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH"),
    *("UH", "UW", "V", "W", "Y", "Z", "ZH"),
)
_FORMAT = "hh-slm lexicon 1"
_RULES = "[rules]"


class _Sayings(Mapping[str, tuple[str, ...]]):
    """Phones of words, kept as they are written; taken apart when a word is looked up.

    A dictionary has more than a hundred thousand words, of which a text needs some dozen.

    Args:
        as_written: Phones with a space between them by word.

    Raises:
        ValueError: A pronunciation is empty or holds something that is no phone.
    """

    def __init__(self, as_written: dict[str, str]) -> None:
        self.as_written = as_written
        known = set(PHONES)
        if "" in as_written.values() or not known.issuperset(" ".join(as_written.values()).split()):
            for word, said in as_written.items():
                if not said or not known.issuperset(said.split()):
                    expected = f"expected phones of {sorted(known)} for {word!r}"
                    raise ValueError(f"{expected}, got {said.split()}")

    @classmethod
    def of(cls, words: Mapping[str, Sequence[str]]) -> "_Sayings":
        """Of phones one by one."""
        return cls({word: " ".join(said) for word, said in words.items()})

    def __getitem__(self, word: str) -> tuple[str, ...]:
        return tuple(self.as_written[word].split())

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_written)

    def __len__(self) -> int:
        return len(self.as_written)

    def __contains__(self, word: object) -> bool:
        return word in self.as_written


class Lexicon:
    """Maps a lower-case word to phones; every word with a letter in it has some.

    Args:
        words: Pronunciations by lower-case word.
        rules: See `slm.text.letter_to_sound.learn_rules`.
        notice: Whose dictionary it is; stored with it.

    Raises:
        ValueError: A pronunciation is empty or holds something that is no phone.
    """

    def __init__(
        self,
        words: Mapping[str, Sequence[str]],
        rules: Mapping[str, tuple[str, ...]] | None = None,
        notice: str = "",
    ) -> None:
        self.words = words if isinstance(words, _Sayings) else _Sayings.of(words)
        self.rules = dict(rules or {})
        self.notice = notice

    @classmethod
    def learn(cls, words: Mapping[str, Sequence[str]], notice: str = "") -> "Lexicon":
        """A lexicon whose rules are learnt from its own words."""
        return cls(words, learn_rules(words), notice)

    def __contains__(self, word: str) -> bool:
        return word in self.words

    def phones(self, word: str) -> tuple[str, ...]:
        """Phones of a lower-case word: the dictionary's, else a stem's and its ending, else rules.

        Raises:
            ValueError: Nothing of the word can be said.
        """
        said = self.words.get(word) or self._possessive(word) or self._by_rules(word)
        if not said:
            raise ValueError(f"expected a word written in the letters a to z, got {word!r}")
        return said

    @property
    def fingerprint(self) -> str:
        """Hex digest of words and rules."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:16]

    def save(self, folder: Path | str) -> Path:
        """Write `folder`/lexicon.xz, whole or not at all, and return its path."""
        path = Path(folder) / LEXICON_NAME
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        try:
            partial.write_bytes(lzma.compress(self._text().encode(), preset=9))
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: Path | str) -> "Lexicon":
        """Load from a `lexicon.xz` file or a folder that holds one.

        Raises:
            ValueError: There is no such file, or it is no lexicon.
        """
        path = Path(path)
        path = path / LEXICON_NAME if path.is_dir() else path
        if not path.is_file():
            raise ValueError(f"expected a lexicon at {path}, found no file")
        try:
            lines = lzma.decompress(path.read_bytes()).decode().splitlines()
            if lines[0] != _FORMAT:
                raise ValueError(f"begins with {lines[0]!r:.40}")
            start, stop = lines.index("[words]"), lines.index(_RULES)
        except (lzma.LZMAError, UnicodeDecodeError, IndexError, ValueError) as error:
            raise ValueError(f"expected {path} of format {_FORMAT!r}: {error}") from error
        notice = "\n".join(line.removeprefix("# ") for line in lines[1:start])
        rules = {key: tuple(said.split()) for key, said in _pairs(lines[stop + 1 :])}
        return cls(_Sayings(dict(_pairs(lines[start + 1 : stop]))), rules, notice)

    def _text(self) -> str:
        notice = [f"# {line}" for line in self.notice.splitlines()]
        words = [f"{word}\t{said}" for word, said in sorted(self.words.as_written.items())]
        rules = [f"{key}\t{' '.join(said)}" for key, said in sorted(self.rules.items())]
        return "\n".join([_FORMAT, *notice, "[words]", *words, _RULES, *rules, ""])

    def _possessive(self, word: str) -> tuple[str, ...]:
        """A word of the dictionary and its "'s", which dictionaries leave out now and then."""
        stem, mark, ending = word.rpartition("'")
        said = self.words.get(stem, ())
        if not (mark and said and ending in ("", "s")):
            return ()
        if not ending:
            return said
        if said[-1] in ("S", "Z", "SH", "ZH", "CH", "JH"):
            return (*said, "IH", "Z")
        return (*said, "S" if said[-1] in ("P", "T", "K", "F", "TH") else "Z")

    def _by_rules(self, word: str) -> tuple[str, ...]:
        letters = "".join(letter for letter in word if letter.isalpha())
        said = tuple(apply_rules(letters, self.rules))
        if said or not letters:
            return said
        # No vowel, no rule: letter by letter, where the dictionary names letters.
        return tuple(phone for letter in letters for phone in self.words.get(letter, ()))


def read_dictionary(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Words of a dictionary in CMU's format: `word PH PH`, variants as `word(2)` left out.

    Phones with stress marks lose them.
    """
    words: dict[str, tuple[str, ...]] = {}
    for line in lines:
        word, *said = line.split("#")[0].split() or [";;;"]
        if said and not word.startswith(";;;") and not word.endswith(")"):
            words.setdefault(word.lower(), tuple(phone.rstrip("012") for phone in said))
    return words


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        key, _, said = line.partition("\t")
        yield key, said
