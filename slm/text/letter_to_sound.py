"""Letter-to-sound rules (grapheme-to-phoneme), learnt from a dictionary, for words not in it.

Every letter is aligned with the phones it stands for (none to two), by expectation-maximisation
with hard counts. A rule then maps a letter between the letters around it to phones; of the rules
that apply to a letter the one with the widest context counts. Rules that a narrower one already
implies are left out.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

# Letters to the left and right of the letter itself, the narrowest context first.
_CONTEXTS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 4))
_MOST_PHONES = 2  # that one letter stands for
_EVERY = 8  # words of the first rounds: costs settle on a part
# Nats of a pair without a count, by phones of the letter: one is the rule.
_UNSEEN = (8.0, 6.0, 12.0)
_EDGE = "#"
Phones = tuple[str, ...]


def learn_rules(
    words: Mapping[str, Sequence[str]], *, rounds: int = 3, min_count: int = 3
) -> dict[str, Phones]:
    """Learn the rules of a dictionary.

    Args:
        words: Pronunciations by word; words with more than two phones a letter are passed over.
        rounds: Alignments, each with the counts of the one before.
        min_count: A rule needs so many letters of the dictionary that follow it.

    Returns:
        Phones by context, such as `{"a<c>#": ("K",)}`: a "c" after "a" that ends a word.

    Raises:
        ValueError: No word could be aligned.
    """
    costs: dict[tuple[str, Phones], float] = {}
    aligned: list[tuple[str, list[Phones]]] = []
    for number in range(rounds):
        chosen = list(words.items())[:: 1 if number == rounds - 1 else _EVERY]
        pairs = ((word, align_letters(word, tuple(phones), costs)) for word, phones in chosen)
        aligned = [(word, parts) for word, parts in pairs if parts is not None]
        # Minus log of the share of a letter's occurrences that stand for each part.
        counts = Counter(pair for word, parts in aligned for pair in zip(word, parts, strict=True))
        letters = Counter(letter for word, _ in aligned for letter in word)
        costs = {pair: -math.log(count / letters[pair[0]]) for pair, count in counts.items()}
    if not aligned:
        raise ValueError(f"expected words that letters can be aligned in, got {len(words)} words")
    rules: dict[str, Phones] = {}
    for left, right in _CONTEXTS:
        seen: dict[str, Counter[Phones]] = defaultdict(Counter)
        for word, parts in aligned:
            for index, part in enumerate(parts):
                seen[context(word, index, left, right)][part] += 1
        found = {}
        for key, options in seen.items():
            part, count = options.most_common(1)[0]
            # The rules so far are all narrower: one that agrees with them adds nothing.
            if count >= min_count and _narrower(key, rules) != part:
                found[key] = part
        rules |= found
    return rules


def apply_rules(word: str, rules: Mapping[str, Phones]) -> list[str]:
    """Phones of a word; letters without a rule are silent."""
    phones: list[str] = []
    for index in range(len(word)):
        for left, right in reversed(_CONTEXTS):
            part = rules.get(context(word, index, left, right))
            if part is not None:
                phones += part
                break
    return phones


def context(word: str, index: int, left: int, right: int) -> str:
    """The letters around one of a word, `#` for its edges: "ca<r>#"."""
    before = word[max(0, index - left) : index]
    after = word[index + 1 : index + 1 + right]
    start = _EDGE if left > index else ""
    end = _EDGE if index + right >= len(word) else ""
    return f"{start}{before}<{word[index]}>{after}{end}"


def align_letters(
    word: str, phones: Phones, costs: Mapping[tuple[str, Phones], float]
) -> list[Phones] | None:
    """Phones of each letter on the cheapest path (Viterbi); None with too many phones."""
    if not word or len(phones) > _MOST_PHONES * len(word):
        return None
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]  # cost and size by phones used
    for letter in word:
        reached: dict[int, tuple[float, int]] = {}
        for used, (cost, _) in best[-1].items():
            for size in range(min(_MOST_PHONES, len(phones) - used) + 1):
                part = phones[used : used + size]
                total = cost + costs.get((letter, part), _UNSEEN[size])
                if used + size not in reached or total < reached[used + size][0]:
                    reached[used + size] = (total, size)
        best.append(reached)
    if len(phones) not in best[-1]:
        return None
    # Back along the path.
    parts: list[Phones] = []
    used = len(phones)
    for reached in reversed(best[1:]):
        size = reached[used][1]
        parts.append(phones[used - size : used])
        used -= size
    return parts[::-1]


def _narrower(key: str, rules: Mapping[str, Phones]) -> Phones | None:
    """Phones by the widest of the rules so far whose context lies within this one."""
    inside, _, after = key.partition(">")
    before, _, letter = inside.partition("<")
    for left, right in reversed(_CONTEXTS):
        if left > len(before) or right > len(after):
            continue
        part = rules.get(f"{before[len(before) - left :]}<{letter}>{after[:right]}")
        if part is not None:
            return part
    return None
