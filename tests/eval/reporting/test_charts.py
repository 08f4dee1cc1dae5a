"""Charts of scored folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eval.metrics.mel_distance import MelDistanceMetric
from eval.metrics.stoi import StoiMetric
from eval.reporting.charts import (
    RatedSystem,
    clip_charts,
    rate_chart,
    rate_charts,
    read_ladder,
    similarity_charts,
    summary_system,
)
from eval.reporting.line_chart import line_chart
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.sound import Sound

LADDER = [
    RatedSystem("opus_6", 6000.0, {"stoi": (0.9, 0.88, 0.92)}),
    RatedSystem("opus_8", 8000.0, {"stoi": (0.94, 0.93, 0.95)}),
    RatedSystem("band_limit", None, {"stoi": (0.99, None, None)}),
    RatedSystem("mine_24", 300.0, {"stoi": (0.8, 0.7, 0.85)}, is_ours=True),
]


@pytest.fixture(scope="module")
def scored(
    make_speech: Callable[..., np.ndarray],
    add_noise: Callable[..., np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Path]:
    folders = []
    for snr in (20, 5):
        folder = tmp_path_factory.mktemp(f"snr{snr}")
        pairs = [
            Pair(str(n), Sound(clip, 24000), Sound(add_noise(clip, snr), 24000))
            for n, clip in enumerate(make_speech(1.0, seed=n) for n in range(3))
        ]
        score_pairs(pairs, [StoiMetric(), MelDistanceMetric()], folder, show_progress=False)
        folders.append(folder)
    return folders


def test_families_are_joined_and_ours_stands_alone() -> None:
    curve = rate_chart(LADDER, "stoi")
    assert [series.name for series in curve.series] == ["mine_24", "opus"]
    assert list(curve.series[1].labels) == ["6", "8"]
    assert curve.levels == {"band_limit": 0.99}
    svg = line_chart(curve)
    for text in ("bit/s (log)", "mine_24", "opus", "band_limit: 0.990", ">6<", ">8<"):
        assert text in svg


def test_shares_are_drawn_in_per_cent() -> None:
    systems = [RatedSystem("a", 10.0, {"wer": (0.25, 0.2, 0.3)})]
    curve = rate_chart(systems, "wer", unit="%")
    assert list(curve.series[0].y) == [25.0]
    assert curve.y_label == "wer, %"


def test_charts_are_of_what_the_ladder_has_too(scored: list[Path]) -> None:
    summary = json.loads((scored[0] / "summary.json").read_text())
    ours = summary_system("ours", summary, 300.0)
    assert [c.title for c in rate_charts([ours, *LADDER], summary)] == ["stoi by bit rate"]
    assert rate_charts([ours], summary) == []


def test_a_ladder_comes_from_a_list_or_from_anchors(tmp_path: Path) -> None:
    path = tmp_path / "ladder.json"
    rows = [{"name": "opus_6", "bitrate": 6000, "values": {"stoi": [0.9, 0.8, 0.95]}}]
    path.write_text(json.dumps(rows))
    assert read_ladder(path) == [RatedSystem("opus_6", 6000, {"stoi": (0.9, 0.8, 0.95)})]
    figures = {
        "wer_original.x/wer": {"value": 0.1, "ci95": None},
        "wer.x/wer": {"value": 0.5, "ci95": [0.4, 0.6]},
        "stoi.x/stoi": {"value": None, "ci95": None},
    }
    row = {"is_ours": True, "measured_bitrate": 320.0, "figures": figures}
    path.write_text(json.dumps({"systems": {"a": row}}))
    assert read_ladder(path) == [RatedSystem("a", 320.0, {"wer": (0.5, 0.4, 0.6)}, True)]


@pytest.mark.parametrize("text", ["3", '[{"name": "a"}]'])
def test_another_form_of_ladder_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "l.json").write_text(text)
    with pytest.raises(ValueError, match="expected"):
        read_ladder(tmp_path / "l.json")
    with pytest.raises(ValueError, match="expected a JSON file"):
        read_ladder(tmp_path / "none.json")


def test_clips_are_set_against_a_baseline(scored: list[Path]) -> None:
    stoi, mel = clip_charts(*scored, names=("clean", "noisy"))
    assert (stoi.x_label, stoi.y_label) == ("noisy", "clean")
    assert all(y > x for x, y in zip(stoi.series[0].x, stoi.series[0].y, strict=True))
    assert "better above the line: 3 clips, worse: 0" in stoi.note
    assert "better below the line: 3 clips" in mel.note
    assert stoi.diagonal
    assert ">3 clips<" in line_chart(stoi)


def test_similarity_lies_before_its_band(tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    rows = [
        {"id": str(n), "key": "k", "status": "ok", "values": {"sim": 0.6 + 0.1 * n}} for n in (1, 0)
    ]
    items = "".join(json.dumps({"id": row["id"], "key": "k"}) + "\n" for row in rows)
    (tmp_path / "items.jsonl").write_text(items)
    (tmp_path / "scores" / "sim.x.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    ends = {"mean": 0.9, "p5": 0.85, "p95": 0.95, "pairs": 4}
    band = {"same_speaker": ends, "different_speaker": {**ends, "pairs": 0}}
    summary = {"metrics": {"sim.x": {"figures": {"sim": {}}, "corpus": band}}}
    (curve,) = similarity_charts(tmp_path, summary)
    assert list(curve.series[0].y) == [0.6, 0.7]
    assert curve.bands == {"same speaker": (0.85, 0.95)}
    svg = line_chart(curve)
    assert "same speaker: 0.850 to 0.950" in svg
    assert "strangers" not in svg


def test_scores_of_the_recordings_are_not_those_of_a_codec() -> None:
    """The point of our own codec once showed the word errors of the originals."""
    figure = {"value": 0.1, "ci95": None, "unit": "%", "higher_is_better": False}
    summary = {
        "metrics": {
            "wer_original.x": {"figures": {"wer": figure}},
            "wer.x": {"figures": {"wer": {**figure, "value": 0.4}}},
        }
    }
    ours = summary_system("ours", summary, 300.0)
    assert ours.values == {"wer": (0.4, None, None)}
    others = [RatedSystem("opus_6", 6000.0, {"wer": (0.3, None, None)})]
    assert [curve.title for curve in rate_charts([ours, *others], summary)] == ["wer by bit rate"]


def test_a_baseline_of_other_recordings_is_refused(scored: list[Path], tmp_path: Path) -> None:
    """Clips of another split with the same names were set against each other."""
    noise = np.random.default_rng(0).standard_normal(24000).astype(np.float32) / 9
    pairs = [Pair(str(n), Sound(noise, 24000), Sound(noise, 24000)) for n in range(3)]
    score_pairs(pairs, [MelDistanceMetric()], tmp_path, show_progress=False)
    with pytest.raises(ValueError, match="same reference for every item"):
        clip_charts(scored[0], tmp_path)
