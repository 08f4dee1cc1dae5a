"""A corpus as one stream of a tokenizer's tokens a clip."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from codec.audio.store import AudioStore
from codec.files import write_json
from eval.baselines.token_streams import flatten_codes
from eval.protocols import Tokenizer
from eval.sound import resampled
from slm import TokenStore, TokenStoreWriter

# Entries that a token store can number.
LARGEST = 65536


@dataclass(frozen=True)
class Encoded:
    """A corpus as one stream of tokens a clip.

    Args:
        stores: Token stores by split, several codebooks flattened into one stream.
        seconds: Seconds of speech by split.
        figures: tokens_per_second (counted on valid), raw_bitrate, rtf_encode.
    """

    stores: dict[str, TokenStore]
    seconds: dict[str, float]
    figures: dict[str, Any]

    def rate(self, split: str) -> float:
        """Tokens a second of a split as counted, last frames included."""
        return self.stores[split].num_codes / self.seconds[split]


def encode_splits(tokenizer: Tokenizer, audio: dict[str, AudioStore], folder: Path) -> Encoded:
    """Token stores of every split; a run that was cut off goes on after its last shard.

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
        start, heard = time.perf_counter(), 0.0
        for index, row in enumerate(tqdm(clips.rows, desc=f"encode {split}", unit="clip")):
            if row["id"] not in writer.done_ids:
                waveform = clips.waveform(index)
                own = resampled(waveform, clips.sample_rate, tokenizer.sample_rate)
                codes = tokenizer.encode(np.asarray(own, dtype=np.float32))
                kept = {key: row[key] for key in ("id", "text", "speaker", "num_samples")}
                writer.add(flatten_codes(codes, tokenizer.codebook_size), kept)
                heard += len(waveform) / clips.sample_rate
        writer.close()
        if heard:
            spent = {"rtf": (time.perf_counter() - start) / heard}
            write_json(folder / f"{split}_speed.json", spent)
        stores[split] = TokenStore(folder / split, tokenizer.fingerprint)
        seconds[split] = sum(row["num_samples"] for row in clips.rows) / clips.sample_rate
    path = folder / "train_speed.json"
    # Missing where a run was killed between the last shard and this file.
    speed = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rtf": None}
    rate = stores["valid"].num_codes / seconds["valid"]
    figures = {
        "tokens_per_second": rate,
        "raw_bitrate": rate * math.log2(tokenizer.codebook_size),
        "rtf_encode": speed["rtf"],
    }
    return Encoded(stores, seconds, figures)
