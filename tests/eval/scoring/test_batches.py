"""Scoring by metrics that take several items at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eval.protocols import BatchMetric, FigureInfo, Item, MetricError, MetricInfo, Score
from eval.scoring import pair as pair_module
from eval.scoring.pair import Pair
from eval.scoring.summary import item_rows
from eval.sound import Sound
from tests.eval.scoring.scored import RATE, run


class Batched:
    """The peak of each estimate, of at most three at once; one above 0.9 breaks its batch."""

    info = MetricInfo(
        "peak.v1", "peak", frozenset({"estimate"}), (FigureInfo("peak"),), is_large=True
    )
    batch_size = 3

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def prepare(self) -> None:
        pass

    def score(self, item: Item) -> Score:
        assert item.estimate is not None
        peak = float(np.abs(item.estimate).max())
        if peak > 0.9:
            raise RuntimeError("too loud")
        if peak < 0.05:
            raise MetricError("silent")
        return Score({"peak": peak})

    def score_many(self, items: Sequence[Item]) -> list[Score | MetricError]:
        self.calls.append([item.id for item in items])
        found: list[Score | MetricError] = []
        for item in items:
            try:
                found.append(self.score(item))
            except MetricError as error:
                found.append(error)
        return found


def clips(*peaks: float, seconds: float = 0.5) -> list[Pair]:
    tone = np.sin(np.arange(round(seconds * RATE)) / 20.0)
    return [Pair(f"c{n}", None, Sound(peak * tone, RATE)) for n, peak in enumerate(peaks)]


def values(folder: Path) -> dict[str, float | str]:
    rows = item_rows(folder, "peak.v1")
    return {
        name: round(row["values"]["peak"], 3) if row["status"] == "ok" else row["reason"]
        for name, row in rows.items()
    }


def test_items_are_scored_in_batches_and_a_resumed_run_scores_the_rest(tmp_path: Path) -> None:
    metric = Batched()
    assert isinstance(metric, BatchMetric)
    pairs = clips(0.1, 0.2, 0.3, 0.4, 0.5)
    run(pairs[:2], [metric], tmp_path / "part")
    run(pairs, [metric], tmp_path / "part")
    assert metric.calls == [["c0", "c1"], ["c2", "c3", "c4"]]
    whole = run(pairs, [Batched()], tmp_path / "whole")
    summary = (tmp_path / "part" / "summary.json").read_bytes()
    assert summary == (tmp_path / "whole" / "summary.json").read_bytes()
    assert whole["metrics"]["peak.v1"]["n_ok"] == 5


def test_what_fails_in_a_batch_is_no_failure_of_the_others(tmp_path: Path) -> None:
    pairs = [*clips(0.1, 0.01, 0.3, 0.95, 0.5), Pair("lost", None, tmp_path / "lost.wav")]
    run(pairs, [Batched()], tmp_path / "scores")
    assert values(tmp_path / "scores") == {
        "c0": 0.1,
        "c1": "silent",
        "c2": 0.3,
        "c3": "too loud",
        "c4": 0.5,
        "lost": "no such audio file: lost.wav",
    }


def test_no_more_audio_is_in_memory_than_a_batch_of_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_module, "MOST_SECONDS", 1.2)
    metric = Batched()
    run(clips(0.1, 0.2, 0.3), [metric], tmp_path)
    assert metric.calls == [["c0", "c1"], ["c2"]]
    # Longer than the limit by itself, a recording goes alone.
    metric.calls.clear()
    run(clips(0.1, 0.2, seconds=2.0), [metric], tmp_path / "long")
    assert metric.calls == [["c0"], ["c1"]]
