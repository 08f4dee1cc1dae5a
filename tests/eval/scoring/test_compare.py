from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from eval.cli.main import main
from eval.protocols import FigureInfo, Item, MetricInfo, Score, WeightSpec
from eval.reporting.sections import summary_table
from eval.scoring.bootstrap import paired_difference, paired_rates
from eval.scoring.compare import ComparisonError, compare_folders
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.scoring.shared import shared_figures
from eval.scoring.summary import read_summary
from eval.sound import Sound


class Level:
    """Mean level of the estimate, and its share of samples above 0 as a pooled rate."""

    weights: tuple[WeightSpec, ...] = ()

    def __init__(self, version: str = "1") -> None:
        figures = (
            FigureInfo("level", higher_is_better=True),
            FigureInfo("error", "%", False, numerator="errors", denominator="words"),
        )
        self.info = MetricInfo(
            f"level.v{version}", "level", frozenset({"estimate"}), figures, weights=self.weights
        )

    def prepare(self) -> None: ...

    def score(self, item: Item) -> Score:
        assert item.estimate is not None
        level, words = float(item.estimate[0]), float(item.estimate[1])
        if level < 0:
            raise ValueError("too low")
        return Score({"level": level, "error": level / words, "errors": level, "words": words})


@pytest.fixture
def scored(tmp_path: Path) -> Callable[..., Path]:
    """A maker of a scored folder: (name, levels, words, ...)."""

    def make(
        name: str,
        levels: Sequence[float],
        words: Sequence[float] = (4, 4, 4, 4),
        version: str = "1",
        recording: float = 0.0,
    ) -> Path:
        pairs = [
            Pair(f"clip{n}", Sound(np.full(3, recording), 8), Sound(np.array([x, w]), 8), "text")
            for n, (x, w) in enumerate(zip(levels, words, strict=False))
        ]
        score_pairs(pairs, [Level(version)], tmp_path / name, show_progress=False)  # type: ignore[list-item]
        return tmp_path / name

    return make


def test_differences_wins_and_losses_of_a_figure(scored: Callable[..., Path]) -> None:
    result = compare_folders(scored("a", [3, 2, 5, 1]), scored("b", [1, 2, 2, 2]))
    level, error = result.figures
    assert (level.ours, level.theirs, level.difference) == (2.75, 1.75, 1.0)
    assert (level.wins, level.losses, level.ties) == (2, 1, 1)
    # Fewer errors are better, so the same numbers lose where they won.
    assert (error.wins, error.losses, error.ties) == (1, 2, 1)
    assert result.is_verified
    assert level.outcome == "not resolved"
    assert level.low is not None
    assert level.low < 1.0 < (level.high or 0)


def test_clips_of_several_speakers_are_compared_over_speakers(tmp_path: Path) -> None:
    # Each speaker's difference is the same on every clip: -1 and +2.
    levels = {"a": ([1, 1, 1, 5, 5, 5]), "b": ([2, 2, 2, 3, 3, 3])}
    for name, values in levels.items():
        pairs = [
            Pair(f"clip{n}", Sound(np.zeros(3), 8), Sound(np.array([x, 4.0]), 8), "", "uv"[n // 3])
            for n, x in enumerate(values)
        ]
        score_pairs(pairs, [Level()], tmp_path / name, show_progress=False)  # type: ignore[list-item]
    result = compare_folders(tmp_path / "a", tmp_path / "b")
    level = result.figures[0]
    assert (level.low, level.high, level.n_speakers, level.outcome) == (-1, 2, 2, "not resolved")
    assert "bootstrap over 2 speakers, then their clips" in result.to_markdown()
    summary = read_summary(tmp_path / "a")
    figure = summary["metrics"]["level.v1"]["figures"]["level"]
    assert (summary["n_speakers"], figure["n_speakers"], figure["ci95"]) == (2, 2, [1.0, 5.0])


def test_summaries_that_count_no_speakers_still_load(scored: Callable[..., Path]) -> None:
    folders = [scored("a", [3, 4, 5, 4]), scored("b", [1, 2, 2, 2])]
    for folder in folders:
        summary = read_summary(folder)
        del summary["n_speakers"]
        for metric in summary["metrics"].values():
            for figure in metric["figures"].values():
                del figure["n_speakers"]
        (folder / "summary.json").write_text(json.dumps(summary))
    assert compare_folders(*folders).figures[0].outcome == "A better"
    table = summary_table("Old", {"a": read_summary(folders[0])})
    assert "bootstrap interval over clips" in table.note


def test_figures_of_several_systems_are_over_the_clips_all_of_them_have(
    scored: Callable[..., Path],
) -> None:
    # `b` fails on clip1, which alone would make `a` look worse than it is on what both have.
    folders = {"a": scored("a", [3, 9, 5, 1]), "b": scored("b", [1, -1, 2, 3])}
    found = {name: each["level.v1"] for name, each in shared_figures(folders).items()}
    assert found["a"]["level"]["value"] == 3.0
    assert found["b"]["level"]["value"] == 2.0
    assert found["a"]["error"]["value"] == pytest.approx(9 / 12)
    assert [each["level"]["n_failed"] for each in found.values()] == [1, 1]
    assert [each["level"]["n_ok"] for each in found.values()] == [3, 3]


def test_an_interval_without_zero_names_the_better_system(scored: Callable[..., Path]) -> None:
    result = compare_folders(scored("a", [3, 4, 5, 4]), scored("b", [1, 2, 2, 2]))
    assert [figure.outcome for figure in result.figures] == ["A better", "B better"]


def test_a_pooled_rate_is_compared_as_pooled() -> None:
    ours = (np.array([1.0, 0.0]), np.array([1.0, 9.0]))
    theirs = (np.array([0.0, 9.0]), np.array([1.0, 9.0]))
    value, low, high = paired_rates(ours, theirs)
    assert value == pytest.approx(0.1 - 0.9)
    assert low is not None
    assert high is not None
    assert paired_rates((ours[0][:1], ours[1][:1]), (theirs[0][:1], theirs[1][:1]))[1] is None


def test_means_agree_with_the_paired_bootstrap_of_statistics() -> None:
    rng = np.random.default_rng(1)
    a, b, ones = rng.normal(0.3, 1, 40), rng.normal(0, 1, 40), np.ones(40)
    expected = paired_difference(a, b).interval
    assert paired_rates((a, ones), (b, ones)) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_other_items_recordings_and_metric_ids_are_refused(scored: Callable[..., Path]) -> None:
    a = scored("a", [3, 2, 5, 1])
    with pytest.raises(ComparisonError, match=r"same items.*clip3"):
        compare_folders(a, scored("fewer", [1, 2, 2]))
    with pytest.raises(ComparisonError, match=r"same reference for every item.*another for 4"):
        compare_folders(a, scored("other", [1, 2, 2, 2], recording=0.5))
    with pytest.raises(ComparisonError, match=r"level\.v1.*level\.v2"):
        compare_folders(a, scored("newer", [1, 2, 2, 2], version="2"))
    with pytest.raises(ComparisonError, match=r"expected metrics of .*got \['stoi'\]"):
        compare_folders(a, scored("b", [1, 2, 2, 2]), metrics=["stoi"])


def test_other_prompts_and_other_weights_of_one_id_are_refused(
    scored: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = Sound(np.array([1.0, 4.0]), 8)
    for name, level in (("p", 0.5), ("q", 0.25)):
        pair = Pair("clip0", None, sound, "text", prompt=Sound(np.full(3, level), 8))
        score_pairs([pair], [Level()], tmp_path / name, show_progress=False)  # type: ignore[list-item]
    with pytest.raises(ComparisonError, match="same prompt for every item"):
        compare_folders(tmp_path / "p", tmp_path / "q")

    monkeypatch.setattr(Level, "weights", (WeightSpec("ears", "MIT", "make them"),))
    for name in ("small", "large"):
        (tmp_path / f"{name}.pt").write_text(name)
        monkeypatch.setenv("HH_WEIGHT_EARS", str(tmp_path / f"{name}.pt"))
        scored(name, [1, 2, 3, 4])
    with pytest.raises(ComparisonError, match="same weights behind level"):
        compare_folders(tmp_path / "small", tmp_path / "large")


def test_a_failed_item_is_listed_and_makes_the_status_nonzero(
    scored: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    a, b = scored("a", [3, 2, 5, 1]), scored("b", [1, -1, 2, 2])
    result = compare_folders(a, b, metrics=["level"])
    assert result.missing == ("clip1",)
    assert [figure.n_paired for figure in result.figures] == [3, 3]
    assert main(["compare", str(a), str(b), "--json", "--out", str(tmp_path / "t.md")]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["figures"][0]["wins"] == 2
    assert "clip1" in (tmp_path / "t.md").read_text()
    assert main(["compare", str(a), str(a)]) == 0
    assert "| level ↑ | 2.750 | 2.750 | 0 |" in capsys.readouterr().out
    assert main(["compare", str(a), str(tmp_path / "none")]) == 2


def test_folders_of_one_name_are_told_apart_by_where_they_lie(
    scored: Callable[..., Path],
) -> None:
    result = compare_folders(scored("x/scored", [1, 2, 2, 2]), scored("y/scored", [1, 2, 2, 2]))
    assert (result.ours, result.theirs) == ("x/scored", "y/scored")


def test_ids_and_texts_meet_in_either_form_of_their_accents(tmp_path: Path) -> None:
    folders = []
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, "caf\u00e9")  # type: ignore[arg-type]
        pair = Pair(text, Sound(np.zeros(3), 8), Sound(np.array([1.0, 4.0]), 8), text)
        score_pairs([pair], [Level()], tmp_path / form, show_progress=False)  # type: ignore[list-item]
        folders.append(tmp_path / form)
    result = compare_folders(*folders)
    assert (result.missing, [figure.n_paired for figure in result.figures]) == ((), [1, 1])


def test_figures_over_other_recordings_of_the_same_names_are_not_shared(
    scored: Callable[..., Path],
) -> None:
    folders = {"a": scored("a", [3, 2, 5, 1]), "b": scored("b", [1, 2, 2, 2], recording=0.5)}
    with pytest.raises(ComparisonError, match="same reference for every item"):
        shared_figures(folders)


def test_names_of_metrics_may_stand_apart_and_may_not_be_empty(
    scored: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a = str(scored("a", [3, 2, 5, 1]))
    assert main(["compare", a, a, "--metrics", "level, level.v1"]) == 0
    assert main(["compare", a, a, "--metrics", ""]) == 2
    assert "expected names of metrics" in capsys.readouterr().err
