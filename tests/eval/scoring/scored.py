"""What the tests of scoring score with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eval.protocols import FigureInfo, Item, Metric, MetricInfo, Score
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.sound import Sound

RATE = 24000
STOI = "stoi.pystoi04"


def run(
    pairs: Sequence[Pair], metrics: Sequence[Metric], folder: Path, **options: Any
) -> dict[str, Any]:
    return score_pairs(pairs, metrics, folder, show_progress=False, **options)


def halved(pair: Pair) -> Pair:
    """A pair whose estimate is half as loud."""
    assert isinstance(pair.estimate, Sound)
    return replace(pair, estimate=Sound(0.5 * pair.estimate.waveform, RATE))


class Counting:
    """A metric that counts its calls; its value is the peak of the estimate."""

    info = MetricInfo("peak.v1", "peak", frozenset({"estimate"}), (FigureInfo("peak"),))

    def __init__(self) -> None:
        self.calls = []

    def prepare(self) -> None:
        pass

    def score(self, item: Item) -> Score:
        self.calls.append(item.id)
        assert item.estimate is not None
        return Score({"peak": float(np.abs(item.estimate).max())})
