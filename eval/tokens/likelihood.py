"""Language-model figures: bits per second of speech, and unigram entropies to compare with."""

from __future__ import annotations

import math

import numpy as np

from codec.checks import above

NATS_PER_BIT = math.log(2.0)


def unigram_entropy(counts: np.ndarray) -> float:
    """Compute the plug-in entropy of counts (V,) in nats a token; 0 to log(V).

    The best that any model without context could reach *on the very tokens counted*; it is biased
    low when tokens are few, so print `unigram_cross_entropy` beside it.
    """
    frequencies = _checked_counts(counts, "counts")
    # The sum is -0.0 for a single entry; adding 0.0 makes it a plain zero.
    seen = frequencies[frequencies > 0] / frequencies.sum()
    return float(-(seen * np.log(seen)).sum()) + 0.0


def unigram_cross_entropy(
    train_counts: np.ndarray, test_counts: np.ndarray, *, smoothing: float = 1.0
) -> float:
    """Compute the loss of a unigram model on held-out tokens, nats a token.

    The model is (train_counts + smoothing) / sum, so an entry never seen in training costs a
    finite amount. A language model that does not beat this has learnt no order.

    Raises:
        ValueError: Sizes differ, no token was counted, or smoothing is not positive.
    """
    train = _checked_counts(train_counts, "train_counts")
    test = _checked_counts(test_counts, "test_counts")
    if train.size != test.size:
        raise ValueError(f"expected counts over one vocabulary, got {train.size} and {test.size}")
    above("smoothing", smoothing, 0)
    log_probabilities = np.log(train + smoothing) - math.log(train.sum() + smoothing * train.size)
    return float(-(test * log_probabilities).sum() / test.sum())


def _checked_counts(counts: np.ndarray, name: str) -> np.ndarray:
    """Return counts (V,) as float64, or raise a ValueError that names them."""
    values = np.asarray(counts, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not (values >= 0).all() or values.sum() <= 0:
        raise ValueError(f"expected {name} (V,) >= 0 with a positive sum, got {counts!r:.80}")
    return values


def bits_per_second(nats_per_token: float, tokens_per_second: float) -> float:
    """Convert a loss to the rate at which it describes speech, bit/s; lower is better.

    Unlike nats a token it can be compared between tokenizers of different rates.
    """
    return nats_per_token / NATS_PER_BIT * tokens_per_second
