"""The language model of a comparison: the same for every tokenizer, on the same speech."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from slm.data.alignment import Alignment
from slm.data.documents import aligned_length, document_length
from slm.generation.duration_prior import codes_per_character, duration_spread
from slm.model.likelihood import nats_per_code
from slm.text.tokenizer import Tokenizer

from .codes import Encoded
from .config import AdaptConfig
from .corpus import Phones


@dataclass(frozen=True)
class Trained:
    """A language model of codes, in eval mode, with its text model, curve and figures."""

    lm: SpeechLM
    text: Tokenizer | None
    curve: list[dict[str, float]]
    figures: dict[str, Any]


def train_lm(
    config: AdaptConfig, encoded: Encoded, folder: Path, phones: Phones | None = None
) -> Trained:
    """Train the language model, or finish the training; measure it on valid.

    Args:
        config: Settings of the comparison.
        encoded: The codes.
        folder: Of the training.
        phones: Of the clips, for a model of aligned phones.

    Raises:
        ValueError: A clip that is longer than a row.
    """
    train, rate = encoded.stores["train"], encoded.rate("valid")
    text = phones.tokenizer if phones else _text_model(config, train, folder)
    aligned = _alignments(encoded, phones)
    seq_len = row_tokens(config, encoded, text, aligned)
    sizes: dict[str, Any] = {"codes_per_character": codes_per_character([train])}
    if phones:
        # Durations at their own spread, as recipes.train_slm has them.
        spread = {"duration_spread": duration_spread([train]), "lookahead": config.lookahead}
        sizes |= spread | {"duration_temperature": 1.0, "duration_top_p": 1.0}
        sizes["max_prompt_codes"] = _documents(config, encoded).max_prompt_codes
    sizes |= {"max_seq_len": seq_len} | config.overrides
    lm = new_speech_lm(config.preset, train, text, config.seed, **sizes)

    def rows_of(split: str, documents: DocumentSettings) -> PackedDataset:
        return _rows(config, encoded.stores[split], text, lm, documents, aligned.get(split))

    rows = rows_of("train", _documents(config, encoded))
    # Valid is measured without prompts: the codes alone, and the codes given their text.
    plain = replace(_documents(config, encoded), prompt_probability=0.0)
    alone, given = (
        list(rows_of("valid", replace(plain, text_drop_probability=drop)).epoch_batches())
        for drop in (1.0, 0.0)
    )
    steps = config.within_budget(config.steps)
    every = min(config.validate_every, steps)
    own: dict[str, Any] = shared_fields(config, TrainingSettings) | {
        "max_steps": steps,
        # A warmup must be shorter than the training.
        "warmup_steps": min(config.within_budget(config.warmup_steps), steps - 1),
        "validate_every": every,
        "checkpoint_every": every,
    }
    settings = TrainingSettings(**own)
    start = time.perf_counter()
    device = usable_device(config.device)
    fit_speech_lm(lm, rows, folder, settings=settings, validation=alone, accelerator=device.type)
    lm.to(device)
    spent = time.perf_counter() - start
    # Axis of the curve: tokens so far, as seconds of speech, which tokenizers have in common.
    counted = _trained_tokens(rows, steps, lm.vocabulary.code_start)
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


def row_tokens(
    config: AdaptConfig,
    encoded: Encoded,
    text: Tokenizer | None,
    aligned: Mapping[str, Mapping[str, Alignment]],
) -> int:
    """Compute S, tokens of a row that holds `row_seconds` of this tokenizer's speech on average.

    Raises:
        ValueError: The longest document would not fit.
    """
    # Every document with its text, and the part of them that opens with a prompt of mean length.
    lengths = []
    for split, store in encoded.stores.items():
        for row in store.rows:
            if aligned:
                units = aligned[split].get(row["id"])
                count = None if units is None else len(units.units)
            else:
                has_text = text is not None and row["text"].strip()
                lang = row.get("lang") or "en"
                count = len(text.encode(row["text"], lang)) if text and has_text else None
            lengths.append(_length(config, row["num_codes"], count, bool(aligned)))
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


def _length(config: AdaptConfig, codes: int, text: int | None, aligned: bool) -> int:
    """Tokens of a document without a prompt; `text` pieces or units, None for speech alone."""
    if aligned and text is not None:
        return aligned_length(codes, text, config.lookahead, 0)
    return document_length(codes, text, 0)


def _alignments(encoded: Encoded, phones: Phones | None) -> dict[str, dict[str, Alignment]]:
    """Units and their counts of codes, by split and id; {} without phones."""
    if phones is None:
        return {}
    return {split: phones.of_codes(split, store) for split, store in encoded.stores.items()}


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
        lookahead=config.lookahead if config.text == "phones" else 0,
    )


def _rows(
    config: AdaptConfig,
    store: TokenStore,
    text: Tokenizer | None,
    lm: SpeechLM,
    documents: DocumentSettings,
    alignments: Mapping[str, Alignment] | None,
) -> PackedDataset:
    """The documents of a split in rows as long as the model allows."""
    return PackedDataset(
        [store],
        text,  # type: ignore[arg-type] - rows without text never ask for it
        lm.vocabulary,
        seq_len=lm.config.max_seq_len,
        batch_size=config.batch_size,
        settings=documents,
        seed=config.seed,
        alignments=alignments,
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
