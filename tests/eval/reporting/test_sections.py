"""Report parts made from scored folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.metrics.mel_distance import MelDistanceMetric
from eval.metrics.stoi import StoiMetric
from eval.reporting.report import Estimate
from eval.reporting.sections import (
    corpus_tables,
    figure_cell,
    folder_report,
    item_notes,
    summary_failures,
    summary_table,
    training_curves,
)
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.sound import Sound


@pytest.fixture(scope="module")
def scored(
    make_speech: Callable[..., np.ndarray],
    add_noise: Callable[..., np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("scored")
    clip = make_speech(1.2)
    pairs = [
        Pair("good", Sound(clip, 24000), Sound(add_noise(clip, 10), 24000)),
        Pair("gone", Sound(clip, 24000), folder / "gone.wav"),
    ]
    summary = score_pairs(pairs, [StoiMetric(), MelDistanceMetric()], folder, show_progress=False)
    return folder, summary


def test_table_has_a_row_a_figure_and_a_column_a_summary(
    scored: tuple[Path, dict[str, Any]],
) -> None:
    table = summary_table("Figures", {"valid": scored[1], "test": scored[1]})
    assert list(table.columns) == ["figure", "valid", "test"]
    assert [row[0] for row in table.rows] == [
        "stoi ↑",
        "stoi_raw ↑",
        "lag_ms",
        "lag_over_2ms ↓",
        "mel_l1 ↓",
    ]
    cell = table.rows[0][1]
    assert isinstance(cell, Estimate)
    assert cell.note == "1 of 2"


def test_two_definitions_of_a_figure_are_rows_told_apart_by_their_ids(
    scored: tuple[Path, dict[str, Any]],
) -> None:
    summary = scored[1]
    other = {"metrics": {"stoi.other": summary["metrics"]["stoi.pystoi04"]}}
    rows = [row[0] for row in summary_table("Figures", {"a": summary, "b": other}).rows]
    assert rows[0] == "stoi ↑ [stoi.pystoi04]"
    assert "stoi ↑ [stoi.other]" in rows
    assert "mel_l1 ↓" in rows


def test_a_figure_that_is_absent_gives_an_empty_cell() -> None:
    assert figure_cell(None) is None


def test_failures_name_item_metric_and_reason(scored: tuple[Path, dict[str, Any]]) -> None:
    failures = summary_failures(scored[1], "valid")
    assert [(f.id, f.where) for f in failures] == [
        ("gone", "valid stoi.pystoi04"),
        ("gone", "valid mel_l1.v1"),
    ]
    assert "no such audio file" in failures[0].reason


def test_notes_of_an_item_show_figures_or_the_reason(scored: tuple[Path, dict[str, Any]]) -> None:
    folder = scored[0]
    assert "stoi 0." in item_notes(folder, "good")["scores"]
    assert item_notes(folder, "gone")["mel_l1 failed"].startswith("no such audio file")
    assert item_notes(folder, "unknown") == {}


def test_training_curves_take_every_number_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows = [
        {"step": 1, "loss": 3.0, "lr": 0.1},
        {"step": 2, "loss": 2.0, "note": "x", "ok": True},
        {"epoch": 1},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    curves = training_curves(path)
    assert [curve.title for curve in curves] == ["loss", "lr"]
    assert list(curves[0].series[0].y) == [3.0, 2.0]
    assert training_curves(tmp_path / "none.jsonl") == []


def test_folder_report_holds_figures_failures_and_definitions(
    scored: tuple[Path, dict[str, Any]],
) -> None:
    report = folder_report(scored[0], title="mini")
    assert report.title == "mini"
    assert len(report.failures) == 2
    assert [table.title for table in report.tables] == ["Figures", "Definitions"]


def test_a_folder_without_a_summary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"summary\.json"):
        folder_report(tmp_path)


def test_figures_of_all_clips_together_are_in_a_table() -> None:
    """The floor and ceiling of a similarity were in a picture and on the terminal alone."""
    spread = {"mean": 0.5, "p5": 0.4, "p95": 0.6, "pairs": 9}
    metrics = {
        "speaker_sim.x1": {"corpus": {"same_speaker": spread, "threshold": None}},
        "wer_whisper.y": {"corpus": {"possibly_invented": 2}},
        "stoi.z": {},
    }
    (table,) = corpus_tables({"spoken": {"metrics": metrics}, "recording": {"metrics": {}}})
    assert table.columns == ["figure", "spoken", "recording"]
    assert table.rows == [
        ["speaker_sim: two recordings of one speaker", Estimate(0.5, 0.4, 0.6, note="9"), None],
        ["speaker_sim: cosine of the equal error rate", None, None],
        ["wer_whisper: clips with words that may be invented", 2, None],
    ]
    assert corpus_tables({"spoken": {"metrics": {"stoi.z": {}}}}) == []
