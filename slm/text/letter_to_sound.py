"""Letter-to-sound rules, learnt from a dictionary, for words that are not in it.

Every letter is aligned with the phones it stands for (none to two), by expectation-maximisation
with hard counts. A rule then says what a letter becomes between the letters around it; the rule
with the widest context that a word meets decides. Rules that a narrower one already implies are
left out.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

# Letters to the left and right of the letter itself, the narrowest context first.
_CONTEXTS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 4))
_MOST_PHONES = 2  # that one letter stands for
_EVERY = 8
_EDGE = "#"
Phones = tuple[str, ...]


def learn_rules(
    words: Mapping[str, Sequence[str]], *, rounds: int = 3, min_count: int = 3
) -> dict[str, Phones]:
    """Rules of a dictionary.

    Args:
        words: Pronunciations by word; words with more than two phones a letter teach nothing.
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
        every = 1 if number == rounds - 1 else _EVERY  # costs settle on a part of the words
        chosen = list(words.items())[::every]
        pairs = ((word, align_letters(word, tuple(said), costs)) for word, said in chosen)
        aligned = [(word, parts) for word, parts in pairs if parts is not None]
        costs = _costs(aligned)
    if not aligned:
        raise ValueError(f"expected words that letters can be aligned in, got {len(words)} words")
    rules: dict[str, Phones] = {}
    for left, right in _CONTEXTS:
        seen: dict[str, Counter[Phones]] = defaultdict(Counter)
        for word, parts in aligned:
            for place, part in enumerate(parts):
                seen[context(word, place, left, right)][part] += 1
        found = {}
        for key, counts in seen.items():
            part, count = counts.most_common(1)[0]
            # The rules so far are all narrower: one that agrees with them says nothing new.
            if count >= min_count and _narrower(key, rules) != part:
                found[key] = part
        rules |= found
    return rules


def apply_rules(word: str, rules: Mapping[str, Phones]) -> list[str]:
    """Phones of a word; letters that no rule is about are silent."""
    said: list[str] = []
    for place in range(len(word)):
        for left, right in reversed(_CONTEXTS):
            part = rules.get(context(word, place, left, right))
            if part is not None:
                said += part
                break
    return said


def context(word: str, place: int, left: int, right: int) -> str:
    """The letters around one of a word, `#` for its edges: "ca<r>#"."""
    before = word[max(0, place - left) : place]
    after = word[place + 1 : place + 1 + right]
    start = _EDGE if left > place else ""
    end = _EDGE if place + right >= len(word) else ""
    return f"{start}{before}<{word[place]}>{after}{end}"


def align_letters(
    word: str, phones: Phones, costs: Mapping[tuple[str, Phones], float]
) -> list[Phones] | None:
    """The phones of each letter on the cheapest path; None where there are too many phones."""
    if not word or len(phones) > _MOST_PHONES * len(word):
        return None
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]  # cost and size by phones used
    for letter in word:
        reached: dict[int, tuple[float, int]] = {}
        for used, (cost, _) in best[-1].items():
            for size in range(min(_MOST_PHONES, len(phones) - used) + 1):
                part = phones[used : used + size]
                total = cost + costs.get((letter, part), _unseen(size))
                if used + size not in reached or total < reached[used + size][0]:
                    reached[used + size] = (total, size)
        best.append(reached)
    if len(phones) not in best[-1]:
        return None
    parts: list[Phones] = []
    used = len(phones)
    for reached in reversed(best[1:]):
        size = reached[used][1]
        parts.append(phones[used - size : used])
        used -= size
    return parts[::-1]


def _unseen(size: int) -> float:
    """Nats of a pair that no count speaks for: one phone a letter is the rule."""
    return (8.0, 6.0, 12.0)[size]


def _costs(aligned: Iterable[tuple[str, list[Phones]]]) -> dict[tuple[str, Phones], float]:
    """Minus log of the share of each letter's occurrences that stand for each part."""
    pairs: Counter[tuple[str, Phones]] = Counter()
    letters: Counter[str] = Counter()
    for word, parts in aligned:
        pairs.update(zip(word, parts, strict=True))
        letters.update(word)
    return {pair: -math.log(count / letters[pair[0]]) for pair, count in pairs.items()}


def _narrower(key: str, rules: Mapping[str, Phones]) -> Phones | None:
    """What the rules so far say of a context that holds theirs."""
    inside, _, after = key.partition(">")
    before, _, letter = inside.partition("<")
    for left, right in reversed(_CONTEXTS):
        if left > len(before) or right > len(after):
            continue
        part = rules.get(f"{before[len(before) - left :]}<{letter}>{after[:right]}")
        if part is not None:
            return part
    return None
