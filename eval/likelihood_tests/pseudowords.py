"""Pseudo-words: what sounds as a word of a language could, and is none.

After sWUGGY of the Zero Resource Speech Challenge 2021 (https://arxiv.org/abs/2011.11588): a word
and a pseudo-word that differ as little as can be and whose sounds follow each other as commonly, so
that only who knows the words can tell them apart. There Wuggy makes them of syllables; here one
phone is replaced by another of its kind.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from random import Random

_EDGE = "#"  # before the first and behind the last phone of a word


@dataclass(frozen=True)
class Pseudoword:
    """A pseudo-word beside its word.

    Attributes:
        phones: Of the pseudo-word, with the word's marks where they were.
        bigram_margin: Nats by which a bigram model of the language's phones prefers the word;
            near 0, so that the succession of phones alone does not tell the two apart.
    """

    phones: str
    bigram_margin: float


class PseudowordMaker:
    """Makes pseudo-words of a language whose words are known as strings of phones.

    Args:
        pronunciations: Of as many words of the language as can be had, a letter a phone; marks of
            stress and length may stand between.
        vowels: Letters of vowels; every other letter is a consonant.
        marks: Letters that are no phone; pronunciations that differ by them alone are one.
        stress: Those of the marks that stand before a stressed vowel. Only stressed vowels are
            replaced: others are said in more than one way. "" replaces any.
        alike: Groups of phones that may be one sound, such as a tapped "t" and "d": they are never
            replaced by each other, and pronunciations that differ by them alone are one.

    Raises:
        ValueError: There is no pronunciation with a phone.
    """

    def __init__(
        self,
        pronunciations: Iterable[str],
        vowels: Collection[str],
        marks: Collection[str],
        stress: Collection[str] = "",
        alike: Iterable[str] = (),
    ) -> None:
        self._marks, self._vowels = frozenset(marks), frozenset(vowels)
        self._stress = frozenset(stress)
        # Every phone of a group counts as its first.
        self._first = {phone: group[0] for group in alike for phone in group}
        self._known = {self.plain(each) for each in pronunciations} - {""}
        if not self._known:
            raise ValueError("expected pronunciations with phones, got none")
        self._pairs: Counter[str] = Counter()
        for word in self._known:
            self._pairs.update(_bigrams(word))
        firsts: Counter[str] = Counter()
        for pair, count in self._pairs.items():
            firsts[pair[0]] += count
        self._nats = {pair: math.log(n / firsts[pair[0]]) for pair, n in self._pairs.items()}
        self._phones = sorted({phone for word in self._known for phone in word})

    def __contains__(self, pronunciation: str) -> bool:
        """Whether it is that of a known word, whatever its marks."""
        return self.plain(pronunciation) in self._known

    def plain(self, pronunciation: str) -> str:
        """Phones alone, without marks, one for each group of those alike."""
        return "".join(
            self._first.get(letter, letter) for letter in pronunciation if letter not in self._marks
        )

    def make(
        self, word: str, rng: Random, *, rarer: bool, most_margin: float = 1.0
    ) -> Pseudoword | None:
        """Replace one phone of a word by another vowel or consonant.

        One is drawn of the results that are no known word, that hold no succession of two phones
        which the language lacks, and that are within `most_margin` nats of the word by bigrams.

        Args:
            word: Pronunciation of a word, with or without marks.
            rng: Draws.
            rarer: Whether to draw from those that bigrams find less likely than the word, or from
                the others; from all where there are none of the kind.
            most_margin: Nats by which the two may differ.

        Returns:
            None where there is no such result.
        """
        own = self._nats_of(self.plain(word))
        if own is None:
            return None
        found: list[Pseudoword] = []
        for place, phone in enumerate(word):
            is_vowel = phone in self._vowels
            if phone in self._marks or (is_vowel and not self._is_stressed(word, place)):
                continue
            for other in self._phones:
                if other == self.plain(phone) or (other in self._vowels) != is_vowel:
                    continue
                made = word[:place] + other + word[place + 1 :]
                nats = self._nats_of(self.plain(made))
                if nats is None or made in self or abs(own - nats) > most_margin:
                    continue
                found.append(Pseudoword(made, own - nats))
        wanted = [each for each in found if (each.bigram_margin > 0) == rarer]
        return rng.choice(wanted or found) if found else None

    def _is_stressed(self, word: str, place: int) -> bool:
        """Whether the vowel at a place of a word may be replaced."""
        return not self._stress or word[max(0, place - 1)] in self._stress

    def _nats_of(self, phones: str) -> float | None:
        """Log-likelihood by bigrams; None where two phones follow each other in no known word."""
        nats = [self._nats.get(pair) for pair in _bigrams(phones)]
        known = [each for each in nats if each is not None]
        return sum(known) if len(known) == len(nats) else None


def _bigrams(phones: str) -> list[str]:
    """Every two phones in succession, edges included."""
    edged = f"{_EDGE}{phones}{_EDGE}"
    return [edged[n : n + 2] for n in range(len(edged) - 1)]


def pair_words(
    words: Iterable[str],
    pronounce: Callable[[str], str],
    maker: PseudowordMaker,
    count: int,
    rng: Random,
    least_phones: int = 5,
) -> list[tuple[str, str, Pseudoword]]:
    """Draw words and give each a pseudo-word: (word, its pronunciation, pseudo-word).

    The margins by bigrams are kept near 0 in sum, so that pairs do not lean to one side.

    Args:
        words: Candidates, as they are written.
        pronounce: Pronunciation of a word.
        maker: Of the language.
        count: Pairs, at most; no pronunciation and no pseudo-word comes twice.
        rng: Draws.
        least_phones: Of a word: of short ones almost every neighbour is a word too.

    Raises:
        ValueError: No pair could be made.
    """
    order = sorted(set(words))
    rng.shuffle(order)
    found: list[tuple[str, str, Pseudoword]] = []
    taken: set[str] = set()
    margins = 0.0
    for word in order:
        if len(found) == count:
            break
        phones = pronounce(word)
        if len(maker.plain(phones)) < least_phones or phones in taken or phones not in maker:
            continue
        made = maker.make(phones, rng, rarer=margins <= 0)
        if made is not None and made.phones not in taken:
            taken |= {phones, made.phones}
            margins += made.bigram_margin
            found.append((word, phones, made))
    if not found:
        raise ValueError(f"expected words with pseudo-words beside them, got {len(order)} without")
    return found
