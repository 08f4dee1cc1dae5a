"""Recordings -> run/evaluate: figures with intervals, metrics.json and report.html.

    python -m recipes.evaluate recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Reconstructions are compared with their recordings on valid and test. Words are recognised in the
recordings, reconstructions and generated speech of the texts that were spoken, those of speakers
of the training split apart from those of others.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the imports below: a mistyped setting must not wait for torch.
    from recipes.runner.cli import stage_command

    raise SystemExit(stage_command("evaluate"))

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio.store import AudioStore
from codec.files import read_json
from codec.files.json_lines import read_json_lines
from codec.files.names import item_path
from eval.metrics.readiness import require_ready
from eval.metrics.registry import RECONSTRUCTION, WORDS_WHERE_READY, make_metrics, with_whisper
from eval.metrics.wer import WerMetric
from eval.protocols import Metric
from eval.recognition.pocketsphinx import PocketSphinxRecognizer
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.scoring.summary import find_figure
from eval.sound import Sound
from eval.tokens.codebook import count_codes, usage_from_counts
from eval.tokens.likelihood import (
    NATS_PER_BIT,
    bits_per_second,
    unigram_cross_entropy,
    unigram_entropy,
)
from eval.tokens.ngrams import NgramModel
from eval.weights import use_device
from recipes.corpora.manifest import SPLITS
from recipes.runner.config import Config
from recipes.runner.stages import say, stage_folder, write_metrics
from slm import TokenStore

from .evaluate_report import Scored, write_results


def main(config: Config) -> Path:
    """Score everything that was generated, then write metrics.json and report.html.

    Raises:
        ValueError: Nothing was generated, or a metric or the device cannot be used here.
    """
    folder = stage_folder(config, "evaluate")
    use_device(config.evaluate.device)
    # A second recogniser wherever the folder of its weights is named; a wrong one is told first.
    whisper = make_metrics(with_whisper(["wer"])[1:])
    if whisper:
        require_ready(whisper)
    scored = reconstruction_scores(config, folder) | word_scores(config, folder)
    figures = {
        # Names of groups of reconstructions and of groups of words are distinct.
        "reconstruction": {name: headline(s) for name, s in scored.items() if name in GROUPS},
        "words": {name: words(s) for name, s in scored.items() if name not in GROUPS},
        "codebook": codebook_figures(config),
        "language_model": language_model_figures(config),
        "generation": generation_figures(config),
    }
    report = write_results(config, folder, scored, figures, code_counts(config))
    write_metrics(folder, figures | {"report": str(report)})
    return folder


# Groups of reconstructions: the splits, and the speakers of valid that are in train, too.
GROUPS = ("valid", "valid_known_speakers", "test")


def reconstruction_scores(config: Config, folder: Path) -> dict[str, Scored]:
    """Score reconstructions against recordings, by group of clips."""
    metrics = make_metrics(list(RECONSTRUCTION))
    known = known_speakers(config)
    scored = {}
    for group in GROUPS:
        split = group.split("_")[0]
        pairs = [
            Pair(row["id"], recordings[row["id"]], path, row["text"], row["speaker"])
            for row, path, recordings in generated(config, f"reconstructed/{split}", split)
            if group == split or row["speaker"] in known
        ]
        # Where every speaker of valid is in train, the two groups are one.
        if pairs and (group == split or len(pairs) < scored[split].summary["n_expected"]):
            into = folder / "reconstruction" / group
            workers = config.evaluate.workers
            scored[group] = Scored(into, score_pairs(pairs, metrics, into, num_workers=workers))
    return scored


def word_scores(config: Config, folder: Path) -> dict[str, Scored]:
    """Score the word errors of recordings, reconstructions and generated speech.

    All versions of a group are of the same clips, those that were both reconstructed and spoken.
    Names of groups of speakers that are not in train end in `_unseen`.
    """
    known, split = known_speakers(config), config.generate.split
    spoken = {
        kind: {row["id"]: path for row, path, _ in generated(config, kind, split)}
        for kind in spoken_kinds(config)
    }
    versions: dict[str, list[Pair]] = {}
    for row, path, recordings in generated(config, f"reconstructed/{split}", split):
        if row["id"] in spoken["spoken"]:
            # The same clip recorded, reconstructed and spoken: word errors that can be compared.
            sounds = {"original": recordings[row["id"]], "reconstructed": path}
            sounds |= {kind: paths[row["id"]] for kind, paths in spoken.items()}
            group = "" if row["speaker"] in known else "_unseen"
            for kind, sound in sounds.items():
                pair = Pair(row["id"], None, sound, row["text"], row["speaker"])
                versions.setdefault(kind + group, []).append(pair)
    if not versions:
        say("evaluate", "no text is of a clip that was reconstructed: no word errors")
    metrics: list[Metric] = [WerMetric(PocketSphinxRecognizer(config.evaluate.words))]
    metrics += make_metrics(with_whisper(["wer"])[1:])
    scored = {}
    for version, pairs in versions.items():
        into = folder / "words" / version
        workers = config.evaluate.workers
        scored[version] = Scored(into, score_pairs(pairs, metrics, into, num_workers=workers))
    return scored


def spoken_kinds(config: Config) -> list[str]:
    """Name the folders of generated speech: the best of each text, and the first of several."""
    return ["spoken", "spoken_first"] if config.generate.best_of > 1 else ["spoken"]


def known_speakers(config: Config) -> set[str]:
    """Collect the speakers of the train split."""
    return {row["speaker"] for row in AudioStore(stage_folder(config, "prepare") / "train").rows}


class Recordings:
    """The prepared recordings of a split by id, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self.store = AudioStore(folder)
        self._index = {row["id"]: index for index, row in enumerate(self.store.rows)}

    def __getitem__(self, clip: str) -> Sound:
        return Sound(self.store.waveform(self._index[clip]), self.store.sample_rate)


def generated(
    config: Config, name: str, split: str
) -> list[tuple[dict[str, Any], Path, Recordings]]:
    """List the rows of a folder of the generate stage, their files, and the split's recordings."""
    folder = stage_folder(config, "generate") / name
    recordings = Recordings(stage_folder(config, "prepare") / split)
    rows = read_json_lines(folder / "items.jsonl")
    return [(row, item_path(folder, row["id"], ".flac"), recordings) for row in rows]


def headline(scored: Scored) -> dict[str, Any]:
    """Take mean and interval of every figure of a group of reconstructions."""
    figures: dict[str, Any] = {
        "clips": scored.summary["n_expected"],
        # What the intervals are over, from two on.
        "speakers": scored.summary["n_speakers"],
    }
    for metric in scored.summary["metrics"].values():
        for name, figure in metric["figures"].items():
            figures[name] = figure["value"]
            figures[f"{name}_ci95"] = figure["ci95"]
    # Clips that some metric could not score, each once.
    metrics = scored.summary["metrics"].values()
    figures["failed"] = len({each["id"] for metric in metrics for each in metric["failures"]})
    return figures


def words(scored: Scored) -> dict[str, Any]:
    """Take pooled word and character error rates with their intervals."""
    figures: dict[str, Any] = {
        "clips": scored.summary["n_expected"],
        # What the intervals are over, from two on.
        "speakers": scored.summary["n_speakers"],
    }
    for family in ("wer", *WORDS_WHERE_READY):
        for name in ("wer", "cer"):
            figure = find_figure(scored.summary, f"{family}/{name}")
            if figure is not None:
                # "wer", "cer", then "wer_whisper", "cer_whisper".
                key = name + family.removeprefix("wer")
                figures |= {key: figure["value"], f"{key}_ci95": figure["ci95"]}
                figures["failed"] = max(figures.get("failed", 0), figure["n_failed"])
    return figures


def code_counts(config: Config) -> dict[str, np.ndarray]:
    """Count every code in each split."""
    encoded = stage_folder(config, "encode_corpus")
    stores = {split: TokenStore(encoded / split) for split in SPLITS}
    return {
        split: count_codes((store.codes(index) for index in range(len(store))), store.codebook_size)
        for split, store in stores.items()
    }


def streams(store: TokenStore) -> Iterator[np.ndarray]:
    """Yield the codes (L,) int64 of each clip."""
    return (store.codes(index).astype(np.int64) for index in range(len(store)))


def codebook_figures(config: Config) -> dict[str, Any]:
    """Measure the use of the coded stage's codebook in each split."""
    rate = TokenStore(stage_folder(config, "encode_corpus") / "train").frame_rate
    counts = code_counts(config)
    return {split: usage_from_counts(counts[split], rate).to_dict() for split in SPLITS}


def language_model_figures(config: Config) -> dict[str, Any]:
    """Collect nats a code of the language model, beside those of unigram and bigram models.

    `unigram_entropy` is that of the split's own codes, which no unigram model can beat;
    `unigram_nats_per_code` is the cross-entropy of the (smoothed) code frequencies of train there,
    and `bigram_nats_per_code` that of a Kneser-Ney bigram of train: only below it has the language
    model learnt from more than the last code.
    """
    encoded = stage_folder(config, "encode_corpus")
    stores = {split: TokenStore(encoded / split) for split in SPLITS}
    rate = stores["train"].frame_rate
    # Trained once, evaluated on both splits.
    bigram = NgramModel(streams(stores["train"]), stores["train"].codebook_size)
    metrics = read_json(stage_folder(config, "train_slm") / "metrics.json")
    counts = code_counts(config)
    figures = {}
    for split in ("valid", "test"):
        nats = metrics[f"{split}_nats_per_code"]
        bigram_nats = bigram.bits_per_code(streams(stores[split]))[0] * NATS_PER_BIT
        figures[split] = {
            "nats_per_code": nats,
            "bits_per_second": bits_per_second(nats, rate),
            "unigram_nats_per_code": unigram_cross_entropy(counts["train"], counts[split]),
            "unigram_entropy": unigram_entropy(counts[split]),
            "bigram_nats_per_code": bigram_nats,
            "bigram_bits_per_second": bits_per_second(bigram_nats, rate),
            "codes": int(counts[split].sum()),
        }
    return figures


def generation_figures(config: Config) -> dict[str, Any]:
    """Measure how often speech had to be cut off, and its length beside the recordings'.

    `runaway_rate` counts texts that ran away in every attempt, `first_attempt_runaway_rate` those
    that did in the first.
    """
    figures = {}
    for spoken, kind in itertools.product(spoken_kinds(config), ("known", "unseen")):
        items = [
            row
            for row, _, _ in generated(config, spoken, config.generate.split)
            if row["known_speaker"] == (kind == "known")
        ]
        if items:
            ratios = [row["generated_duration"] / row["duration"] for row in items]
            figures[f"{spoken}_{kind}_speakers"] = {
                "clips": len(items),
                "runaway_rate": float(np.mean([row["truncated"] for row in items])),
                "first_attempt_runaway_rate": float(np.mean([bool(r["rejected"]) for r in items])),
                "duration_ratio_median": float(np.median(ratios)),
            }
    return figures
