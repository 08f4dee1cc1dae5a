"""Scoring of pairs: failures, shared work, worker processes."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.metrics.registry import RECONSTRUCTION, make_metrics
from eval.metrics.stoi import StoiMetric
from eval.metrics.wer import WerMetric
from eval.protocols import FigureInfo, Item, MetricInfo, Score
from eval.recognition.pocketsphinx import DIGITS, PocketSphinxRecognizer
from eval.scoring.pair import Pair
from eval.scoring.summary import find_figure, read_summary
from eval.sound import Sound
from tests.eval.scoring.scored import RATE, STOI, Counting, run


def bad_sounds(good: np.ndarray) -> dict[str, Sound]:
    broken = good.copy()
    broken[100] = np.nan
    return {
        "silence": Sound(np.zeros_like(good), RATE),
        "nan": Sound(broken, RATE),
        "empty": Sound(good[:0], RATE),
        "short": Sound(good[: RATE // 10], RATE),
        "integers": Sound(good * 32768, RATE),
    }


def test_bad_input_fails_with_a_reason_and_never_a_number(
    make_speech: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    good = make_speech(1.2)
    closed = PocketSphinxRecognizer(DIGITS)
    metrics = [*make_metrics(RECONSTRUCTION), WerMetric(closed), WerMetric(closed, "reference")]
    pairs = [Pair(name, sound, sound, "one two") for name, sound in bad_sounds(good).items()] + [
        Pair("missing", tmp_path / "gone.wav", tmp_path / "gone.wav", "one two")
    ]
    summary = run(pairs, metrics, tmp_path / "scores")
    for metric_id, metric in summary["metrics"].items():
        assert (metric["n_expected"], metric["n_ok"], metric["n_failed"]) == (6, 0, 6)
        assert all(figure["value"] is None for figure in metric["figures"].values())
        assert {failure["id"] for failure in metric["failures"]} == {pair.id for pair in pairs}
        lines = (tmp_path / "scores" / "scores" / f"{metric_id}.jsonl").read_text().splitlines()
        for row in map(json.loads, lines):
            assert row["status"] == "failed"
            assert row["values"] == {}
            assert row["reason"]


def test_metrics_are_not_kept_behind_the_scores(pairs: list[Pair], tmp_path: Path) -> None:
    metric = StoiMetric()
    kept = weakref.ref(metric)
    run(pairs[:1], [metric], tmp_path)
    del metric
    gc.collect()
    assert kept() is None


class NeedsPrompt:
    """A metric whose value is the peak of the prompt."""

    info = MetricInfo("prompt.v1", "peak", frozenset({"prompt"}), (FigureInfo("peak"),))

    def prepare(self) -> None:
        pass

    def score(self, item: Item) -> Score:
        assert item.prompt is not None
        return Score({"peak": float(np.abs(item.prompt).max())})


def test_a_prompt_is_loaded_where_it_is_needed_and_part_of_the_key(
    pairs: list[Pair], tmp_path: Path
) -> None:
    first = pairs[0]
    prompted = Pair("clip0", None, first.estimate, prompt=Sound(0.25 * np.ones(RATE), RATE))
    louder = Pair("clip0", None, first.estimate, prompt=Sound(0.5 * np.ones(RATE), RATE))
    for pair, peak in ((prompted, 0.25), (louder, 0.5)):
        figure = find_figure(run([pair], [NeedsPrompt()], tmp_path), "peak")
        assert figure is not None
        assert figure["value"] == peak
    failed = run([first], [NeedsPrompt()], tmp_path)["metrics"]["prompt.v1"]["failures"]
    assert failed == [{"id": "clip0", "reason": "the item has no prompt"}]


def test_the_run_record_says_what_the_figures_rest_on(pairs: list[Pair], tmp_path: Path) -> None:
    run(pairs, make_metrics(["mel_l1"]), tmp_path, record={"codec": "fingerprint"}, seed=3)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["settings"] == {"codec": "fingerprint"}
    assert record["seed"] == 3
    assert set(record["metrics"]) == {"mel_l1.v1"}
    assert len(record["manifest_sha256"]) == 64


def test_metrics_together_give_what_each_gives_alone(pairs: list[Pair], tmp_path: Path) -> None:
    """The lag and the resampled pair are shared, which must not show."""
    together = run(pairs, make_metrics(["mel_l1", "mcd_mel", "stoi", "si_sdr"]), tmp_path / "all")
    for name in ("si_sdr", "mcd_mel", "stoi"):
        alone = run(pairs, make_metrics([name]), tmp_path / name)
        for metric_id, metric in alone["metrics"].items():
            assert together["metrics"][metric_id] == metric


def test_a_failed_item_is_counted_and_kept_out_of_the_mean(
    pairs: list[Pair], tmp_path: Path
) -> None:
    with_missing = [*pairs, Pair("gone", pairs[0].reference, tmp_path / "gone.wav")]
    summary = run(with_missing, [StoiMetric()], tmp_path / "scores")
    metric = summary["metrics"][STOI]
    assert (metric["n_expected"], metric["n_ok"], metric["n_failed"]) == (5, 4, 1)
    assert metric["failures"] == [{"id": "gone", "reason": "no such audio file: gone.wav"}]
    whole = run(pairs, [StoiMetric()], tmp_path / "whole")
    partial, full = find_figure(summary, "stoi"), find_figure(whole, "stoi")
    assert partial is not None
    assert full is not None
    assert partial["mean"] == full["mean"]


class NotFinite(Counting):
    """A metric with a bug: it gives infinity."""

    def score(self, item: Item) -> Score:
        return Score({"peak": float("inf")})


def test_a_metric_that_gives_no_finite_number_fails(pairs: list[Pair], tmp_path: Path) -> None:
    summary = run(pairs[:1], [NotFinite()], tmp_path)
    assert summary["metrics"]["peak.v1"]["failures"][0]["reason"] == "not a finite number: peak"


class Undefined(Counting):
    """A metric whose figure is undefined for one clip."""

    def score(self, item: Item) -> Score:
        return Score({"peak": None if item.id == "clip0" else 1.0})


def test_an_undefined_figure_is_counted(pairs: list[Pair], tmp_path: Path) -> None:
    figure = run(pairs, [Undefined()], tmp_path)["metrics"]["peak.v1"]["figures"]["peak"]
    assert (figure["n_expected"], figure["n_ok"], figure["n_failed"]) == (4, 3, 1)


def test_worker_processes_give_the_same_summary(pairs: list[Pair], tmp_path: Path) -> None:
    metrics = make_metrics(["mel_l1"])
    run(pairs, metrics, tmp_path / "one")
    run(pairs, metrics, tmp_path / "two", num_workers=2)
    one, two = (tmp_path / name / "summary.json" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_wer_is_pooled_with_the_mean_beside_it(
    make_speech: Callable[..., np.ndarray], tmp_path: Path
) -> Any:
    class Fixed:
        id = "fixed"

        def transcribe(self, waveform: Any, sample_rate: Any) -> Any:
            return "one"

    clip = Sound(make_speech(1.0), RATE)
    pairs = [Pair("a", None, clip, "one"), Pair("b", None, clip, "one two three four")]
    figure = find_figure(run(pairs, [WerMetric(Fixed())], tmp_path), "wer/wer")
    assert figure is not None
    assert figure["value"] == pytest.approx(3 / 5)
    assert figure["mean"] == pytest.approx((0 + 3 / 4) / 2)
    assert figure["aggregate"] == "pooled"


def test_rates_may_differ_within_a_pair(
    make_speech: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    low = make_speech(1.2, sample_rate=16000)
    pairs = [Pair("a", Sound(low, 16000), Sound(np.repeat(low, 3)[::2], RATE))]
    assert run(pairs, [StoiMetric()], tmp_path)["metrics"][STOI]["n_ok"] == 1


def test_wrong_calls_are_refused_before_anything_is_written(
    pairs: list[Pair], tmp_path: Path
) -> None:
    folder = tmp_path / "scores"
    for call in (
        lambda: run([], [StoiMetric()], folder),
        lambda: run([pairs[0], pairs[0]], [StoiMetric()], folder),
        lambda: run(pairs, [], folder),
        lambda: run(pairs, [StoiMetric()], folder, num_workers=-1),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()
    assert not folder.exists()
    with pytest.raises(ValueError, match=r"summary\.json"):
        read_summary(folder)


class Large(Counting):
    """A metric with a large model, which is scored after the small ones."""

    info = MetricInfo(
        "large.v1", "peak", frozenset({"estimate"}), (FigureInfo("peak"),), is_large=True
    )


def test_a_large_model_is_loaded_when_the_small_ones_are_done(
    pairs: list[Pair], tmp_path: Path
) -> None:
    order = []
    small, large = Counting(), Large()
    small.prepare = lambda: order.append("small")
    large.prepare = lambda: order.append(f"large after {len(small.calls)}")
    run(pairs, [large, small], tmp_path)
    assert order == ["small", "large after 4"]
