"""Language-model figures: nats a token, bits per second of speech, and unigram yardsticks."""

import math
from dataclasses import asdict, dataclass

import numpy as np

NATS_PER_BIT = math.log(2.0)


def unigram_entropy(counts: np.ndarray) -> float:
    """Plug-in entropy of counts (V,) in nats a token; 0 to log(V).

    The best any model without context could reach *on the very tokens counted*; it flatters
    itself when tokens are few, so print `unigram_cross_entropy` beside it.
    """
    frequencies = _checked_counts(counts, "counts")
    seen = frequencies[frequencies > 0] / frequencies.sum()
    return float(-(seen * np.log(seen)).sum()) + 0.0


def unigram_cross_entropy(
    train_counts: np.ndarray, test_counts: np.ndarray, *, smoothing: float = 1.0
) -> float:
    """Loss of a unigram model on held-out tokens, nats a token.

    The model is (train_counts + smoothing) / sum, so an entry never seen in training costs a
    finite amount. A language model that does not beat this has learnt no order.

    Raises:
        ValueError: Sizes differ, no token was counted, or smoothing is not positive.
    """
    train = _checked_counts(train_counts, "train_counts")
    test = _checked_counts(test_counts, "test_counts")
    if train.size != test.size:
        raise ValueError(f"expected counts over one vocabulary, got {train.size} and {test.size}")
    if not smoothing > 0:
        raise ValueError(f"expected a smoothing above 0, got {smoothing}")
    log_probabilities = np.log(train + smoothing) - math.log(train.sum() + smoothing * train.size)
    return float(-(test * log_probabilities).sum() / test.sum())


def _checked_counts(counts: np.ndarray, name: str) -> np.ndarray:
    """Counts (V,) as float64, or a ValueError naming them."""
    values = np.asarray(counts, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not (values >= 0).all() or values.sum() <= 0:
        raise ValueError(f"expected {name} (V,) >= 0 with a positive sum, got {counts!r:.80}")
    return values


def bits_per_second(nats_per_token: float, tokens_per_second: float) -> float:
    """Rate at which a model's loss describes speech, bit/s; lower is better.

    Unlike nats a token it can be compared between tokenizers of different rates.
    """
    return nats_per_token / NATS_PER_BIT * tokens_per_second


@dataclass(frozen=True)
class LikelihoodSummary:
    """Loss of a language model over a corpus.

    Args:
        num_tokens: Tokens that were predicted.
        nats_per_token: Sum of nll / num_tokens; lower is better.
        perplexity: exp(nats_per_token).
        bits_per_token: nats_per_token / ln 2.
        bits_per_second: Sum of nll in bits / seconds of speech.
        seconds: Speech the tokens stand for.
    """

    num_tokens: int
    nats_per_token: float
    perplexity: float
    bits_per_token: float
    bits_per_second: float
    seconds: float

    def to_dict(self) -> dict[str, float | int]:
        """Plain figures by name, for a JSON object."""
        return asdict(self)


def summarize_likelihood(nll: float, num_tokens: int, seconds: float) -> LikelihoodSummary:
    """Figures of a total negative log-likelihood in nats over tokens and seconds of speech.

    Raises:
        ValueError: A loss that is not finite, or no tokens or seconds.
    """
    if not math.isfinite(nll) or num_tokens < 1 or not seconds > 0:
        raise ValueError(
            "expected a finite nll, at least 1 token and a duration above 0, got "
            f"{nll}, {num_tokens} and {seconds}"
        )
    per_token = nll / num_tokens
    return LikelihoodSummary(
        num_tokens=num_tokens,
        nats_per_token=per_token,
        perplexity=math.exp(per_token),
        bits_per_token=per_token / NATS_PER_BIT,
        bits_per_second=nll / NATS_PER_BIT / seconds,
        seconds=seconds,
    )
