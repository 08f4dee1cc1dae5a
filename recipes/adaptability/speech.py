"""Resynthesis of valid clips from their codes, and synthesis of valid texts by the trained LM."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from codec.audio import write_audio
from codec.audio.store import AudioStore
from codec.files.json_lines import write_json_lines
from codec.files.names import check_items, item_path
from eval.baselines.token_streams import fit_length, unflatten_codes
from eval.metrics.registry import make_metrics, with_whisper
from eval.metrics.wer import WerMetric
from eval.protocols import Metric, Tokenizer
from eval.recognition.pocketsphinx import DIGITS, PocketSphinxRecognizer
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.sound import Sound, resampled
from recipes.corpora.preparation import spread
from recipes.runner.stages import say
from slm import GenerationSettings
from slm.data.documents import prefix_tokens
from slm.generation.aligned import AlignedRequest
from slm.generation.duration_prior import length_bounds
from slm.generation.generate import Request, TokenRequest, generate

from .codes import Encoded
from .config import AdaptConfig
from .training import Trained


@dataclass(frozen=True)
class Drawn:
    """Speech of a text: its codes (L,), the tokens that were spent on it, whether it was cut."""

    codes: np.ndarray
    tokens: int
    truncated: bool


def resynthesize_clips(
    config: AdaptConfig, tokenizer: Tokenizer, encoded: Encoded, audio: AudioStore, folder: Path
) -> dict[str, Any]:
    """Decode valid clips from their codes and score them: rtf_decode and figures by name."""
    store = encoded.stores["valid"]
    pairs, spent, decoded = [], 0.0, 0.0
    clips = spread(range(len(store)), config.resynthesize)
    check_items((store.rows[index]["id"] for index in clips), ".flac")
    for index in tqdm(clips, desc="resynthesize"):
        row, recording = store.rows[index], audio.waveform(index)
        codes, _ = unflatten_codes(
            store.codes(index), tokenizer.num_codebooks, tokenizer.codebook_size
        )
        # Decoding alone is timed: files and scores are the same for every tokenizer.
        start = time.perf_counter()
        waveform = _decoded(tokenizer, codes, audio.sample_rate)
        spent += time.perf_counter() - start
        decoded += len(recording) / audio.sample_rate
        path = item_path(folder / "audio", row["id"], ".flac")
        write_audio(path, fit_length(waveform, len(recording)), audio.sample_rate)
        sound = Sound(recording, audio.sample_rate)
        pairs.append(Pair(row["id"], sound, path, row["text"], row["speaker"]))
    metrics = make_metrics(config.resynthesis_metrics) + _word_metrics(config)
    return {
        "resynthesis": _scores(config, pairs, metrics, folder),
        "rtf_decode": spent / decoded if decoded else None,
    }


def generate_clips(
    config: AdaptConfig,
    tokenizer: Tokenizer,
    encoded: Encoded,
    trained: Trained,
    audio: dict[str, AudioStore],
    folder: Path,
) -> dict[str, Any]:
    """Synthesize valid texts and score them: rtf_generate, ends of speech, figures by name.

    Each text follows the first seconds of another clip of its speaker as a prompt, of a training
    clip where there is one.
    """
    chosen = _texts(config, encoded) if trained.text is not None else []
    check_items((row["id"] for row, _ in chosen), ".flac")
    items, pairs, spent, made = [], [], 0.0, 0.0
    rate = audio["valid"].sample_rate
    for start in range(0, len(chosen), config.generate_batch):
        batch = chosen[start : start + config.generate_batch]
        began = time.perf_counter()
        streams = _generated(config, encoded, trained, batch, start)
        for (row, (split, prompt)), drawn in zip(batch, streams, strict=True):
            codes, misplaced = unflatten_codes(
                drawn.codes, tokenizer.num_codebooks, tokenizer.codebook_size
            )
            # Fewer tokens than a frame decode to nothing: without a file the clip counts as failed.
            waveform = _decoded(tokenizer, codes, rate) if codes.shape[1] else np.zeros(0)
            path = item_path(folder / "audio", row["id"], ".flac")
            if len(waveform):
                write_audio(path, waveform, rate)
            else:
                path.unlink(missing_ok=True)  # of an earlier model
            made += len(waveform) / rate
            items.append(
                {
                    "id": row["id"],
                    "text": row["text"],
                    "speaker": row["speaker"],
                    "prompt": encoded.stores[split].rows[prompt]["id"],
                    "truncated": drawn.truncated,
                    "tokens": drawn.tokens,
                    "misplaced": misplaced / max(1, len(drawn.codes)),
                    "seconds": len(waveform) / rate,
                    "recorded_seconds": row["num_samples"] / rate,
                }
            )
            sound = Sound(audio[split].waveform(prompt), audio[split].sample_rate)
            pairs.append(Pair(row["id"], None, path, row["text"], row["speaker"], prompt=sound))
        spent += time.perf_counter() - began
    if not items:
        if trained.text is not None and config.generate:
            say(
                "adapt", "no speech of texts: no clip of valid has another of its speaker to follow"
            )
        names = ("generation", "rtf_generate", "seconds_of_ten_seconds", "tokens_of_ten_seconds")
        return dict.fromkeys(names)
    tokens = sum(item["tokens"] for item in items)
    # Not items.jsonl: those are the scores of what was generated.
    write_json_lines(folder / "generation.jsonl", items)
    # Generated speech has no recording beside it, so the metric of the recordings is left out.
    metrics = make_metrics(config.generation_metrics) + _word_metrics(config, recorded=False)
    return {
        "generation": _scores(config, pairs, metrics, folder) | _endings(items),
        "rtf_generate": spent / made if made else None,
        "seconds_of_ten_seconds": 10 * spent / made if made else None,
        # Steps of the model, which aligned speech spends on phones and their durations, too.
        "tokens_of_ten_seconds": 10 * tokens / made if made else None,
    }


def _generated(
    config: AdaptConfig,
    encoded: Encoded,
    trained: Trained,
    batch: list[tuple[dict[str, Any], tuple[str, int]]],
    start: int,
) -> list[Drawn]:
    """Speech of texts after prompts."""
    lm, text = trained.lm, trained.text
    assert text is not None
    longest = max(1, round(config.prompt_seconds[1] * encoded.rate("train")))
    requests: list[Request] = []
    for number, (row, (split, prompt)) in enumerate(batch):
        # First seconds of the prompt.
        given = encoded.stores[split].codes(prompt)[:longest].astype(np.int64)
        text_ids = text.encode(row["text"], row.get("lang") or "en")
        if lm.config.is_aligned:
            seed = config.seed + start + number
            requests.append(AlignedRequest(np.array(text_ids), given, seed))
            continue
        tokens = prefix_tokens(lm.vocabulary, text_ids, given)
        room = lm.config.max_seq_len - len(tokens)
        fewest, most = length_bounds(
            row["text"], lm.config.codes_per_character, encoded.rate("train"), room
        )
        seed = config.seed + start + number
        requests.append(TokenRequest(torch.from_numpy(tokens), most, fewest, seed))
    settings = GenerationSettings(temperature=config.temperature, top_p=config.top_p)
    return [
        Drawn(
            lm.vocabulary.token_to_code(one.tokens.numpy()),
            # A unit of aligned speech is read and its duration drawn.
            len(one.tokens) + 2 * len(one.counts),
            one.truncated,
        )
        for one in generate(lm, requests, settings)
    ]


def _texts(config: AdaptConfig, encoded: Encoded) -> list[tuple[dict[str, Any], tuple[str, int]]]:
    """Valid clips with a text, evenly spread, and a clip to follow: its split and index.

    It is a training clip of the same speaker, or another of valid where training has none, as
    where voices of valid are heard nowhere else.
    """
    # Clips of each speaker, of which the seed and the place choose one.
    by_speaker: dict[str, dict[str, list[int]]] = {"train": {}, "valid": {}}
    for split, speakers in by_speaker.items():
        for index, row in enumerate(encoded.stores[split].rows):
            speakers.setdefault(row["speaker"], []).append(index)
    rows = []
    for index, row in enumerate(encoded.stores["valid"].rows):
        trained = by_speaker["train"].get(row["speaker"])
        others = [n for n in by_speaker["valid"][row["speaker"]] if n != index]
        prompts = [("train", n) for n in trained] if trained else [("valid", n) for n in others]
        if row["text"].strip() and prompts:
            rows.append((row, prompts))
    return [
        (row, prompts[(config.seed + number) % len(prompts)])
        for number, (row, prompts) in enumerate(spread(rows, config.generate))
    ]


def _decoded(tokenizer: Tokenizer, codes: np.ndarray, sample_rate: int) -> np.ndarray:
    """Codes (K, L) to a waveform of all their frames at `sample_rate`."""
    samples = math.ceil(codes.shape[1] * tokenizer.sample_rate / tokenizer.frame_rate)
    waveform = tokenizer.decode(codes, samples)
    return np.asarray(resampled(waveform, tokenizer.sample_rate, sample_rate), dtype=np.float32)


def _word_metrics(config: AdaptConfig, *, recorded: bool = True) -> list[Metric]:
    """Word errors of the recordings, if asked for, and of the estimates; by Whisper where ready.

    [] where the settings ask for none.
    """
    if not config.words:
        return []
    words = None if config.words == ["any"] else config.words
    recognizer = PocketSphinxRecognizer(DIGITS if words == ["digits"] else words)
    own: dict[str, Metric] = {"wer": WerMetric(recognizer)}
    if recorded:
        own = {"wer_original": WerMetric(recognizer, part="reference"), **own}
    others = [name for name in with_whisper(list(own)) if name not in own]
    return [*own.values(), *make_metrics(others)]


def _scores(
    config: AdaptConfig, pairs: list[Pair], metrics: list[Metric], folder: Path
) -> dict[str, Any]:
    """Figures by name, those of words with `original` where they are of the recordings."""
    if not metrics or not pairs:
        return {}
    summary = score_pairs(pairs, metrics, folder, num_workers=config.workers, seed=config.seed)
    figures: dict[str, Any] = {}
    for metric_id, metric in summary["metrics"].items():
        family = metric_id.split(".")[0]  # "wer_original" of "wer_original.pocketsphinx51"
        for name, figure in metric["figures"].items():
            label = f"{name} of recordings" if family.endswith("_original") else name
            # Two recognisers have figures of the same names.
            label += " by Whisper" if family.startswith("wer_whisper") else ""
            if figure["higher_is_better"] is not None:
                figures[label] = figure
    return figures


def _endings(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Rates of speech that was cut off and of tokens out of place, length beside recordings."""
    ratios = [item["seconds"] / item["recorded_seconds"] for item in items]
    values = {
        "runaway": (float(np.mean([item["truncated"] for item in items])), "%", False),
        "misplaced tokens": (float(np.mean([item["misplaced"] for item in items])), "%", False),
        "length / recorded (median)": (float(np.median(ratios)), "", None),
    }
    return {
        name: {"value": value, "ci95": None, "unit": unit, "higher_is_better": better}
        for name, (value, unit, better) in values.items()
    }
