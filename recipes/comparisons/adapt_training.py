"""The language model of a comparison: the same for every tokenizer, on the same speech."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.devices import usable_device
from codec.files import read_json, write_json
from codec.files.json_lines import read_json_lines
from eval.tokens.likelihood import bits_per_second
from recipes.runner.language_model import new_speech_lm
from recipes.runner.schema import shared_fields
from slm import (
    DocumentSettings,
    PackedDataset,
    SpeechLM,
    TextTokenizer,
    TokenStore,
    TrainingSettings,
    fit_speech_lm,
)
from slm.data.documents import document_length
from slm.generation.duration_prior import codes_per_character
from slm.model.likelihood import nats_per_code

from .adapt_codes import Encoded
from .adapt_config import AdaptConfig


@dataclass(frozen=True)
class Trained:
    """A language model of codes, in eval mode, with its text model, curve and figures."""

    lm: SpeechLM
    text: TextTokenizer | None
    curve: list[dict[str, float]]
    figures: dict[str, Any]


def train_lm(config: AdaptConfig, encoded: Encoded, folder: Path) -> Trained:
    """Train the language model, or finish the training; measure it on valid.

    Raises:
        ValueError: A clip that is longer than a row.
    """
    train, rate = encoded.stores["train"], encoded.rate("valid")
    text = _text_model(config, train, folder)
    seq_len = row_tokens(config, encoded, text)
    sizes: dict[str, Any] = {"codes_per_character": codes_per_character([train])}
    sizes |= {"max_seq_len": seq_len} | config.overrides
    lm = new_speech_lm(config.preset, train, text, config.seed, **sizes)
    rows = _rows(config, encoded, "train", text, lm, _documents(config, encoded))
    # Valid is measured without prompts: the codes alone, and the codes given their text.
    alone, given = (
        list(_rows(config, encoded, "valid", text, lm, documents).epoch_batches())
        for documents in (
            DocumentSettings(prompt_probability=0.0, text_drop_probability=1.0),
            DocumentSettings(prompt_probability=0.0, text_drop_probability=0.0),
        )
    )
    own: dict[str, Any] = shared_fields(config, TrainingSettings) | {
        "max_steps": config.steps,
        # A warmup must be shorter than the training.
        "warmup_steps": min(config.warmup_steps, config.steps - 1),
        "checkpoint_every": config.validate_every,
    }
    settings = TrainingSettings(**own)
    start = time.perf_counter()
    device = usable_device(config.device)
    fit_speech_lm(lm, rows, folder, settings=settings, validation=alone, accelerator=device.type)
    lm.to(device)
    spent = time.perf_counter() - start
    # Axis of the curve: tokens so far, as seconds of speech, which tokenizers have in common.
    counted = _trained_tokens(rows, config.steps, lm.vocabulary.code_start)
    seconds = counted / encoded.rate("train")
    nats = nats_per_code(lm, alone)
    bits, raw = bits_per_second(nats, rate), encoded.figures["raw_bitrate"]
    with_text = None if text is None else bits_per_second(nats_per_code(lm, given), rate)
    figures = {
        "bits_per_second": bits,
        "bits_per_second_given_text": with_text,
        "nats_per_token": nats,
        "share_removed": 1 - bits / raw if raw else None,
        "parameters": lm.num_parameters,
        "seq_len": seq_len,
        "tokens_trained": int(counted[-1]),
        "audio_seconds_trained": float(seconds[-1]),
        "train_seconds": _spent(folder, spent),
    }
    return Trained(lm, text, _curve(folder, seconds, rate), figures)


def row_tokens(config: AdaptConfig, encoded: Encoded, text: TextTokenizer | None) -> int:
    """Compute S, tokens of a row that holds `row_seconds` of this tokenizer's speech on average.

    Raises:
        ValueError: The longest document would not fit.
    """
    # Every document with its text, and the part of them that opens with a prompt of mean length.
    lengths = []
    for store in encoded.stores.values():
        for row in store.rows:
            pieces = None
            if text and row["text"].strip():
                pieces = len(text.encode(row["text"], row.get("lang") or "en"))
            lengths.append(document_length(row["num_codes"], pieces, 0))
    prompt = config.prompt_seconds[1] * encoded.rate("train")
    mean_prompt = 0.5 * sum(config.prompt_seconds) * encoded.rate("train")
    total = sum(lengths) + config.prompt_probability * mean_prompt * len(lengths)
    seq_len = math.ceil(config.row_seconds * total / sum(encoded.seconds.values()))
    longest = max(lengths) + math.ceil(prompt) + 1
    if longest > seq_len:
        raise ValueError(
            f"row_seconds: expected rows that hold the longest document ({longest} tokens with "
            f"its prompt), got {seq_len} tokens in {config.row_seconds:g} s; use at least "
            f"{config.row_seconds * longest / seq_len:.1f}"
        )
    return seq_len


def _text_model(config: AdaptConfig, train: TokenStore, folder: Path) -> TextTokenizer | None:
    """The text model of the training transcripts, None where there are none."""
    rows = [row for row in train.rows if row["text"].strip()]
    if not rows:
        return None
    return TextTokenizer.train(
        (row["text"] for row in rows),
        folder,
        languages=(row.get("lang") or "en" for row in rows),
        vocab_size=config.text_vocab,
        seed=config.seed,
    )


def _documents(config: AdaptConfig, encoded: Encoded) -> DocumentSettings:
    """Documents with prompts of the same seconds, whatever the token rate."""
    shortest, longest = (
        max(1, round(seconds * encoded.rate("train"))) for seconds in config.prompt_seconds
    )
    return DocumentSettings(
        prompt_probability=config.prompt_probability,
        min_prompt_codes=shortest,
        max_prompt_codes=longest,
        text_drop_probability=config.text_drop_probability,
    )


def _rows(
    config: AdaptConfig,
    encoded: Encoded,
    split: str,
    text: TextTokenizer | None,
    lm: SpeechLM,
    documents: DocumentSettings,
) -> PackedDataset:
    """The documents of a split in rows as long as the model allows."""
    return PackedDataset(
        [encoded.stores[split]],
        text,  # type: ignore[arg-type] - rows without text never ask for it
        lm.vocabulary,
        seq_len=lm.config.max_seq_len,
        batch_size=config.batch_size,
        settings=documents,
        seed=config.seed,
    )


def _trained_tokens(rows: PackedDataset, steps: int, code_start: int) -> np.ndarray:
    """Codes with a loss up to each step, (steps,) int64, counted in the batches once more."""
    counts = []
    for step in range(steps):
        batch = rows.batch(step)
        counts.append(int(((batch.tokens >= code_start) & (batch.loss_weights > 0)).sum()))
    return np.cumsum(counts)


def _curve(folder: Path, seconds: np.ndarray, rate: float) -> list[dict[str, float]]:
    """Bits a second of valid speech at every validation."""
    return [
        {
            "step": row["step"],
            "audio_seconds": float(seconds[row["step"] - 1]),
            "bits_per_second": bits_per_second(row["valid_nats_per_code"], rate),
        }
        for row in read_json_lines(folder / "metrics.jsonl", torn="drop")
        if "valid_nats_per_code" in row
    ]


def _spent(folder: Path, seconds: float) -> float:
    """Wall seconds of the attempt that finished the training, kept for calls that find it done."""
    path = folder / "seconds.json"
    if not path.is_file():
        write_json(path, {"seconds": seconds})
    return read_json(path, required=("seconds",))["seconds"]
