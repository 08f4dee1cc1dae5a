"""Diversity of generated speech: distinct n-grams, auto-BLEU and self-BLEU of words or codes.

A generator that repeats one likely thing has a low perplexity, so a generative perplexity only
means something beside these. Auto-BLEU is that of
https://arxiv.org/abs/2102.01192, section 3.3.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from codec.checks import at_least

Units = Sequence[Hashable]


def ngram_counts(units: Units, n: int) -> Counter[tuple[Hashable, ...]]:
    """Count every run of n units; empty where there are fewer than n."""
    return Counter(tuple(units[start : start + n]) for start in range(len(units) - n + 1))


def distinct_n(texts: Sequence[Units], n: int) -> float | None:
    """Divide the different n-grams by all n-grams of all texts, 0 to 1; higher is more varied.

    It falls as texts grow longer: compare it at equal amounts only. None without an n-gram.
    """
    at_least("n", n, 1)
    whole: Counter[tuple[Hashable, ...]] = Counter()
    for text in texts:
        whole += ngram_counts(text, n)
    return len(whole) / whole.total() if whole else None


def auto_bleu(units: Units, n: int = 2) -> float | None:
    """Measure the repetition within one text, 0 to 1; lower is more varied.

    Geometric mean over orders 1 to n of the share of n-grams that occur again in the same text.
    None where the text has no n-gram of the highest order.
    """
    at_least("n", n, 1)
    if len(units) < n:
        return None
    shares = []
    for order in range(1, n + 1):
        counts = ngram_counts(units, order)
        shares.append(sum(c for c in counts.values() if c > 1) / counts.total())
    return _geometric_mean(shares)


def bleu(candidate: Units, references: Sequence[Units], n: int = 2) -> float:
    """Compute the BLEU of a text against several, 0 to 1: orders 1 to n weighted alike, unsmoothed.

    Raises:
        ValueError: No reference, or an order below 1.
    """
    at_least("n", n, 1)
    if not references:
        raise ValueError("expected at least one reference, got none")
    if len(candidate) < n:
        return 0.0
    precisions = []
    for order in range(1, n + 1):
        counts = ngram_counts(candidate, order)
        # An n-gram counts as often as the one reference has it that has it most often.
        most: Counter[tuple[Hashable, ...]] = Counter()
        for reference in references:
            most |= ngram_counts(reference, order)
        precisions.append((counts & most).total() / counts.total())
    # Too short a text is penalised.
    return _brevity(len(candidate), [len(r) for r in references]) * _geometric_mean(precisions)


def self_bleu(texts: Sequence[Units], n: int = 2) -> float | None:
    """Measure the likeness of texts to one another, 0 to 1; lower is more varied.

    Mean BLEU of each text against all others. None for fewer than two texts.
    """
    at_least("n", n, 1)
    if len(texts) < 2:
        return None
    orders = [_Order([ngram_counts(text, order) for text in texts]) for order in range(1, n + 1)]
    lengths = Counter(map(len, texts))
    scores = []
    for index, text in enumerate(texts):
        if len(text) < n:
            scores.append(0.0)
            continue
        # Its own length counts where another text has it, too.
        others = [size for size, count in lengths.items() if count > (size == len(text))]
        precisions = [order.precision(index) for order in orders]
        scores.append(_brevity(len(text), others) * _geometric_mean(precisions))
    return sum(scores) / len(scores)


class _Order:
    """N-grams of one order in texts, of which each is compared with all others.

    Comparing every two texts would take time with the square of their number.
    """

    def __init__(self, counts: Sequence[Counter[tuple[Hashable, ...]]]) -> None:
        self.counts = counts
        # The two highest counts of an n-gram within a text, and the text of the highest.
        self.most: dict[tuple[Hashable, ...], tuple[int, int, int]] = {}
        for index, found in enumerate(counts):
            for ngram, count in found.items():
                first, second, owner = self.most.get(ngram, (0, 0, -1))
                if count > first:
                    self.most[ngram] = count, first, index
                else:
                    self.most[ngram] = first, max(second, count), owner

    def precision(self, index: int) -> float:
        """Clipped precision of a text against all others."""
        shared = 0
        for ngram, count in self.counts[index].items():
            first, second, owner = self.most[ngram]
            shared += min(count, second if owner == index else first)
        return shared / self.counts[index].total()


def _brevity(length: int, references: Sequence[int]) -> float:
    """Penalty of a text against the reference of the nearest length, the shorter of two."""
    closest = min(references, key=lambda size: (abs(size - length), size))
    return 1.0 if length >= closest else math.exp(1.0 - closest / length)


def diversity(texts: Sequence[Units], n: int = 2) -> dict[str, float | int | None]:
    """Compute all figures for a set of texts; "auto_bleu_texts" are those long enough for it."""
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
