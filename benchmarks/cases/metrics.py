"""Metrics: STOI beside pystoi itself, the default set beside plain spectra."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness.benchmark import Benchmark, Call, Contestant, CostCurve, Figure
from benchmarks.harness.reference_work import spectra
from eval.metrics.readiness import require_ready
from eval.metrics.registry import RECONSTRUCTION, make_metrics
from eval.scoring.pair import Pair, score_pair
from eval.scoring.speed import RATE, synthetic_pairs
from eval.sound import load_sound

CLIP_SECONDS = {"tiny": 1.0, "small": 4.0, "full": 5.0}
CLIPS = {"tiny": 1, "small": 1, "full": 4}


def build(size: str, folder: Path) -> dict[str, Contestant]:
    """Build the default metrics of a reconstruction; work is seconds of audio."""
    each = CLIP_SECONDS[size]
    pairs = synthetic_pairs(each * CLIPS[size], clip_seconds=each)
    seconds = each * CLIPS[size]
    sounds = []
    for pair in pairs:
        assert pair.reference is not None
        assert pair.estimate is not None
        sounds.append((load_sound(pair.reference).waveform, load_sound(pair.estimate).waveform))
    flat = [waveform for pair in sounds for waveform in pair]
    return {
        "stoi": Contestant(lambda: scorer(["stoi"], pairs), seconds),
        "pystoi": Contestant(lambda: _pystoi(sounds), seconds),
        "default set": Contestant(lambda: scorer(list(RECONSTRUCTION), pairs), seconds),
        "spectra": Contestant(lambda: spectra(flat), seconds),
    }


def scorer(names: list[str], pairs: list[Pair]) -> Call:
    """Make a call that scores pairs by metrics in this process.

    Raises:
        ImportError: A metric cannot run here.
    """
    metrics = make_metrics(names)
    # A metric without its packages leaves the contestant out, like a missing peer.
    try:
        require_ready(metrics)
    except ValueError as error:
        raise ImportError(str(error)) from error
    for metric in metrics:
        metric.prepare()

    def call() -> None:
        for pair in pairs:
            loaded: dict = {}  # waveforms of the pair, which its metrics share
            for metric in metrics:
                row = score_pair(metric, pair, loaded)
                if row["status"] != "ok":
                    raise ValueError(f"{metric.info.id} of {pair.id}: {row['reason']}")

    return call


def _pystoi(sounds: list[tuple[np.ndarray, np.ndarray]]) -> Call:
    """A call of pystoi itself on waveforms (T,)."""
    from pystoi import stoi

    def call() -> None:
        for reference, estimate in sounds:
            if not math.isfinite(stoi(reference, estimate, RATE, extended=False)):
                raise ValueError("pystoi: expected a number")

    return call


def build_length(folder: Path) -> Callable[[float], Call]:
    """Build calls of the default metrics on one pair of so many seconds."""

    def make(seconds: float) -> Call:
        return scorer(list(RECONSTRUCTION), synthetic_pairs(seconds, clip_seconds=seconds))

    return make


BENCHMARKS = (
    Benchmark(
        "eval.metrics",
        "score reconstructions in one process",
        "s of audio",
        build,
        (
            Figure(
                "stoi",
                "pystoi",
                "our STOI, which also finds the lag and scores with and without it, beside one "
                "call of pystoi: 0.5 would be two calls",
            ),
            Figure(
                "default set",
                "spectra",
                "stoi, estoi, mel distances and pitch beside spectra of the same audio, windows of "
                "1024 every 256",
            ),
        ),
    ),
)

CURVES = (
    CostCurve(
        "eval.metrics.length",
        "the default metrics on one pair",
        "s of audio",
        {"tiny": (1, 1.5, 2, 2.5), "full": (2, 4, 8, 16, 32)},
        build_length,
    ),
)
