"""Scoring of pairs again: after a kill, a change, and with another model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.runtime.run_lock import InUseError, locked
from eval.metrics.duration import DeliveryMetric, GenerationRecord
from eval.metrics.stoi import StoiMetric
from eval.protocols import FigureInfo, Item, MetricInfo, Score, WeightSpec
from eval.scoring.pair import Pair
from eval.scoring.score_folder import LOCK
from eval.scoring.summary import find_figure, item_rows, item_values
from tests.eval.scoring.scored import RATE, STOI, Counting, halved, run


def test_a_row_without_a_figure_of_today_is_scored_again(pairs: list[Pair], tmp_path: Path) -> None:
    """A release that gave no `lag_over_2ms` must not leave the figure undefined."""
    run(pairs, [StoiMetric()], tmp_path / "whole")
    run(pairs, [StoiMetric()], tmp_path / "old")
    scores = tmp_path / "old" / "scores" / f"{STOI}.jsonl"
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    for row in rows:
        del row["values"]["lag_over_2ms"]
    scores.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(pairs, [StoiMetric()], tmp_path / "old")
    one, two = ((tmp_path / name / "summary.json").read_bytes() for name in ("whole", "old"))
    assert one == two


class Killed(BaseException):
    """Stands for a kill: nothing that scores catches it."""


class DiesAfter(StoiMetric):
    """STOI that is killed at the third clip."""

    def score(self, item: Item) -> Score:
        if item.id == "clip2":
            raise Killed
        return super().score(item)


def test_a_killed_and_resumed_run_gives_the_summary_of_a_whole_one(
    pairs: list[Pair], tmp_path: Path
) -> None:
    run(pairs, [StoiMetric()], tmp_path / "whole")
    with pytest.raises(Killed):
        run(pairs, [DiesAfter()], tmp_path / "cut")
    assert not (tmp_path / "cut" / "summary.json").exists()
    scores = tmp_path / "cut" / "scores" / f"{STOI}.jsonl"
    assert len(scores.read_text().splitlines()) == 2
    with scores.open("a") as stream:
        stream.write('{"id": "clip2", "status": "o')
    run(pairs, [StoiMetric()], tmp_path / "cut")
    assert len(scores.read_text().splitlines()) == 4
    for name in ("summary.json", "items.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_done_items_are_kept_and_changed_or_failed_ones_scored_again(
    pairs: list[Pair], tmp_path: Path
) -> None:
    first, again = Counting(), Counting()
    missing = Pair("late", None, tmp_path / "late.wav")
    run([*pairs, missing], [first], tmp_path / "scores")
    assert first.calls == ["clip0", "clip1", "clip2", "clip3"]
    soundfile.write(tmp_path / "late.wav", 0.25 * np.ones(RATE), RATE)
    changed = halved(pairs[1])
    summary = run([pairs[0], changed, *pairs[2:], missing], [again], tmp_path / "scores")
    assert again.calls == ["clip1", "late"]
    assert summary["metrics"]["peak.v1"]["n_failed"] == 0


class Weighed(Counting):
    """A metric that loads whatever model it is given."""

    info = MetricInfo(
        "weighed.v1",
        "peak",
        frozenset({"estimate"}),
        (FigureInfo("peak"),),
        weights=(WeightSpec("some_model", "MIT", "make one"),),
    )


def test_scores_of_another_model_under_the_same_id_are_not_kept(
    pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    for text in ("small", "small", "large"):
        path = tmp_path / f"{text}.pt"
        path.write_text(text)
        monkeypatch.setenv("HH_WEIGHT_SOME_MODEL", str(path))
        metric = Weighed()
        run(pairs, [metric], tmp_path / "scores")
        calls.append(len(metric.calls))
    assert calls == [4, 0, 4]


def test_no_summary_or_row_of_other_audio_lies_beside_the_items_of_a_killed_run(
    pairs: list[Pair], tmp_path: Path
) -> None:
    """The table of the first run was once found beside the items of the second."""
    run(pairs, [StoiMetric()], tmp_path)
    with pytest.raises(Killed):
        run([halved(pair) for pair in pairs], [DiesAfter()], tmp_path)
    assert not (tmp_path / "summary.json").exists()
    assert set(item_rows(tmp_path, STOI)) == {"clip0", "clip1"}


def test_another_record_of_the_generator_is_scored_anew(pairs: list[Pair], tmp_path: Path) -> None:
    """The rows of the record before were kept, as audio and text were the same."""
    for truncated, share in ((True, 1.0), (False, 0.0)):
        records = {pair.id: GenerationRecord(truncated) for pair in pairs}
        figure = find_figure(run(pairs, [DeliveryMetric(records)], tmp_path), "runaway")
        assert figure is not None
        assert figure["value"] == share
    values = item_values(tmp_path, "delivery.record1")
    assert [row["runaway"] for row in values.values()] == [0.0] * len(pairs)


def test_files_of_another_program_are_not_replaced(pairs: list[Pair], tmp_path: Path) -> None:
    """Scores beside generated speech took the place of its codes."""
    for name, text in (("items.jsonl", '{"id": "a", "codes": [1]}'), ("run.json", "{}")):
        path = tmp_path / name.partition(".")[0] / name
        path.parent.mkdir()
        path.write_text(text)
        with pytest.raises(ValueError, match=f"with {name} of another program"):
            run(pairs, [Counting()], path.parent)
        assert path.read_text() == text


def test_a_folder_is_scored_by_one_process(pairs: list[Pair], tmp_path: Path) -> None:
    with locked(tmp_path, LOCK), pytest.raises(InUseError, match="that no other process works in"):
        run(pairs, [Counting()], tmp_path)
    assert not (tmp_path / "items.jsonl").exists()
    run(pairs, [Counting()], tmp_path)
    assert not list(tmp_path.glob(".*"))
