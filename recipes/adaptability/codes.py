"""A corpus as one stream of a tokenizer's tokens a clip, and its cost under n-gram models."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from codec.audio.store import AudioStore
from codec.files import read_json, write_json
from eval.baselines.token_streams import flatten_codes
from eval.protocols import Tokenizer
from eval.sound import resampled
from eval.tokens.codebook import count_codes, usage_from_counts
from eval.tokens.likelihood import NATS_PER_BIT, bits_per_second
from eval.tokens.ngrams import conditional_entropy
from slm import TokenStore, TokenStoreWriter

# Entries that a token store can number.
LARGEST = 65536


@dataclass(frozen=True)
class Encoded:
    """A corpus as one stream of tokens a clip."""

    # Token stores by split, several codebooks flattened into one stream.
    stores: dict[str, TokenStore]
    seconds: dict[str, float]  # seconds of speech by split
    figures: dict[str, Any]  # tokens_per_second (counted on valid), raw_bitrate, rtf_encode

    def rate(self, split: str) -> float:
        """Count the tokens a second of a split, last frames included."""
        return self.stores[split].num_codes / self.seconds[split]


def encode_splits(tokenizer: Tokenizer, audio: dict[str, AudioStore], folder: Path) -> Encoded:
    """Encode every split into a token store; a run that was cut off resumes after its last shard.

    Raises:
        ValueError: More entries in all codebooks than a token store holds, or a folder with the
            codes of another tokenizer.
    """
    size = tokenizer.num_codebooks * tokenizer.codebook_size
    if size > LARGEST:
        raise ValueError(f"{tokenizer.name}: expected at most {LARGEST} entries, got {size}")
    stores, seconds = {}, {}
    for split, clips in audio.items():
        writer = TokenStoreWriter(
            folder / split,
            codec_fingerprint=tokenizer.fingerprint,
            codebook_size=size,
            frame_rate=tokenizer.tokens_per_second,
        )
        # Rows of a run that was cut off are in the store up to its last whole shard.
        start, encoded = time.perf_counter(), 0.0
        for index, row in enumerate(tqdm(clips.rows, desc=f"encode {split}", unit="clip")):
            if row["id"] not in writer.done_ids:
                waveform = clips.waveform(index)
                own = resampled(waveform, clips.sample_rate, tokenizer.sample_rate)
                codes = tokenizer.encode(np.asarray(own, dtype=np.float32))  # (K, L)
                names = ("id", "text", "speaker", "lang", "num_samples")
                kept = {key: row[key] for key in names if key in row}
                writer.add(flatten_codes(codes, tokenizer.codebook_size), kept)
                encoded += len(waveform) / clips.sample_rate
        writer.close()
        # Timed where something was encoded: a store that is whole keeps its figure.
        if encoded:
            spent = {"rtf": (time.perf_counter() - start) / encoded}
            write_json(folder / f"{split}_speed.json", spent)
        stores[split] = TokenStore(folder / split, tokenizer.fingerprint)
        seconds[split] = sum(row["num_samples"] for row in clips.rows) / clips.sample_rate
    path = folder / "train_speed.json"
    # Missing where a run was killed between the last shard and this file.
    speed = read_json(path, required=("rtf",)) if path.is_file() else {"rtf": None}
    rate = stores["valid"].num_codes / seconds["valid"]
    # The bits of a token are those of its own codebook, which its place in the stream gives.
    figures = {
        "tokens_per_second": rate,
        "raw_bitrate": rate * math.log2(tokenizer.codebook_size),
        "rtf_encode": speed["rtf"],
    }
    return Encoded(stores, seconds, figures)


def ngram_figures(encoded: Encoded, lm_bits_per_second: float) -> dict[str, Any]:
    """Compute bits a second under n-gram models, the LM's gain over the bigram, use of codes.

    Models are fitted to train and measured on valid.
    """
    train, valid = encoded.stores["train"], encoded.stores["valid"]
    rate, size = encoded.rate("valid"), train.codebook_size
    figures: dict[str, Any] = {}
    # Bits a token, as nats, to bits a second: comparable over token rates.
    for order, name in ((1, "unigram"), (2, "bigram")):
        found = conditional_entropy(_streams(train), _streams(valid), size, order=order)
        figures[f"{name}_bits_per_second"] = bits_per_second(found.bits * NATS_PER_BIT, rate)
        figures[name] = found.to_dict()
    bigram = figures["bigram_bits_per_second"]
    # A constant stream costs nothing under the bigram, of which there is no share.
    figures["share_beyond_bigram"] = 1 - lm_bits_per_second / bigram if bigram > 1e-6 else None
    usage = usage_from_counts(count_codes(_streams(train), size), encoded.rate("train"))
    return {
        **figures,
        "codes_used": usage.used,
        "perplexity": usage.perplexity,
        "codebook_use": usage.to_dict(),
    }


def _streams(store: TokenStore) -> list[np.ndarray]:
    """Every clip's tokens (L,) int64."""
    return [store.codes(index).astype(np.int64) for index in range(len(store))]
