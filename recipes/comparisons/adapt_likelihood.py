"""What a code stream costs without a neural model: unigram and bigram, charged on valid."""

from __future__ import annotations

from typing import Any

from eval.tokens.codebook import count_codes, usage_from_counts
from eval.tokens.likelihood import NATS_PER_BIT, bits_per_second
from eval.tokens.ngrams import conditional_entropy
from slm import TokenStore

from .adapt_codes import Encoded


def ngram_figures(encoded: Encoded, lm_bits_per_second: float) -> dict[str, Any]:
    """Bits a second under n-gram models, how far the LM is below the bigram, use of codes."""
    train, valid = encoded.stores["train"], encoded.stores["valid"]
    rate, size = encoded.rate("valid"), train.codebook_size
    figures: dict[str, Any] = {}
    for order, name in ((1, "unigram"), (2, "bigram")):
        found = conditional_entropy(_streams(train), _streams(valid), size, order=order)
        figures[f"{name}_bits_per_second"] = bits_per_second(found.bits * NATS_PER_BIT, rate)
        figures[name] = found.to_dict()
    bigram = figures["bigram_bits_per_second"]
    figures["share_beyond_bigram"] = 1 - lm_bits_per_second / bigram if bigram > 1e-6 else None
    usage = usage_from_counts(count_codes(_streams(train), size), encoded.rate("train"))
    return {
        **figures,
        "codes_used": usage.used,
        "perplexity": usage.perplexity,
        "codebook_use": usage.to_dict(),
    }


def _streams(store: TokenStore) -> list[Any]:
    return [store.codes(index).astype("int64") for index in range(len(store))]
