"""Whether made-up speech is varied: distinct n-grams, auto-BLEU and self-BLEU of words or codes.

A generator that says one likely thing over and over has a low perplexity, so a generative
perplexity is only worth something beside these. Auto-BLEU is that of
https://arxiv.org/abs/2102.01192, section 3.3.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

Units = Sequence[Hashable]


def ngram_counts(units: Units, n: int) -> Counter[tuple[Hashable, ...]]:
    """Occurrences of every run of n units; empty where there are fewer than n."""
    return Counter(tuple(units[place : place + n]) for place in range(len(units) - n + 1))


def distinct_n(texts: Sequence[Units], n: int) -> float | None:
    """Different n-grams over all n-grams of all texts, 0 to 1; higher is more varied.

    It falls as texts grow longer: compare it at equal amounts only. None without an n-gram.
    """
    _checked_order(n)
    whole: Counter[tuple[Hashable, ...]] = Counter()
    for text in texts:
        whole += ngram_counts(text, n)
    return len(whole) / whole.total() if whole else None


def auto_bleu(units: Units, n: int = 2) -> float | None:
    """Repetition within one text, 0 to 1; lower is more varied.

    Geometric mean over orders 1 to n of the share of n-grams that occur again in the same text.
    None where the text has no n-gram of the highest order.
    """
    _checked_order(n)
    if len(units) < n:
        return None
    shares = []
    for order in range(1, n + 1):
        counts = ngram_counts(units, order)
        shares.append(sum(c for c in counts.values() if c > 1) / counts.total())
    return _geometric_mean(shares)


def bleu(candidate: Units, references: Sequence[Units], n: int = 2) -> float:
    """BLEU of a text against several, 0 to 1, orders 1 to n weighted alike, not smoothed.

    Raises:
        ValueError: No reference, or an order below 1.
    """
    _checked_order(n)
    if not references:
        raise ValueError("expected at least one reference, got none")
    if len(candidate) < n:
        return 0.0
    precisions = []
    for order in range(1, n + 1):
        counts = ngram_counts(candidate, order)
        most: Counter[tuple[Hashable, ...]] = Counter()
        for reference in references:
            most |= ngram_counts(reference, order)
        precisions.append((counts & most).total() / counts.total())
    length = len(candidate)
    closest = min((len(r) for r in references), key=lambda size: (abs(size - length), size))
    brevity = 1.0 if length >= closest else math.exp(1.0 - closest / length)
    return brevity * _geometric_mean(precisions)


def self_bleu(texts: Sequence[Units], n: int = 2) -> float | None:
    """Likeness of texts to one another, 0 to 1; lower is more varied.

    Mean BLEU of each text against all others. None for fewer than two texts.
    """
    _checked_order(n)
    if len(texts) < 2:
        return None
    scores = [
        bleu(text, [*texts[:index], *texts[index + 1 :]], n) for index, text in enumerate(texts)
    ]
    return sum(scores) / len(scores)


def diversity(texts: Sequence[Units], n: int = 2) -> dict[str, float | int | None]:
    """The figures of this module for a set of texts; texts too short for auto-BLEU are counted."""
    each = [auto_bleu(text, n) for text in texts]
    scored = [value for value in each if value is not None]
    return {
        "texts": len(texts),
        "units": sum(len(text) for text in texts),
        "distinct_1": distinct_n(texts, 1),
        f"distinct_{n}": distinct_n(texts, n),
        f"auto_bleu_{n}": sum(scored) / len(scored) if scored else None,
        "auto_bleu_texts": len(scored),
        f"self_bleu_{n}": self_bleu(texts, n),
    }


def _geometric_mean(shares: Sequence[float]) -> float:
    """Geometric mean, 0 as soon as one share is."""
    if min(shares) <= 0:
        return 0.0
    return math.exp(sum(math.log(share) for share in shares) / len(shares))


def _checked_order(n: int) -> None:
    if n < 1:
        raise ValueError(f"expected n-grams of at least 1 unit, got {n}")
