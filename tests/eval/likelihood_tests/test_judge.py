"""Likelihood tests with scorers whose answers are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from eval.likelihood_tests.judge import (
    accuracy,
    margins_of,
    pair_accuracies,
    wilson_interval,
)
from eval.likelihood_tests.pairs import LikelihoodPair, read_pairs, write_pairs
from eval.likelihood_tests.score_file import (
    Scorer,
    TokenScores,
    read_scores,
    score_recordings,
)

RATE = 1000


class LoudScorer:
    """Ten tokens a second; each as likely as its stretch is loud."""

    calls = 0

    def log_likelihoods(self, waveform, sample_rate):
        self.calls += 1
        if np.abs(waveform).max() > 0.99:
            raise ValueError("too loud")
        return np.abs(waveform).reshape(-1, sample_rate // 10).mean(axis=1) - 1.0


@pytest.fixture
def pairs(tmp_path):
    found = []
    for number, (good, bad) in enumerate([(0.5, 0.25), (0.25, 0.5), (0.25, 0.25)]):
        for side, level in (("pos", good), ("neg", bad)):
            path = tmp_path / f"{number}_{side}.wav"
            soundfile.write(path, np.full(RATE, level, np.float32), RATE, subtype="FLOAT")
        sides = (tmp_path / f"{number}_pos.wav", tmp_path / f"{number}_neg.wav")
        found.append(LikelihoodPair(str(number), "loud", "ab"[number % 2], *sides))
    return found


def read(path):
    return soundfile.read(path)


def test_a_win_a_loss_and_a_tie_make_one_half(pairs, tmp_path):
    assert isinstance(LoudScorer(), Scorer)
    path = score_recordings(pairs, LoudScorer(), tmp_path / "s.jsonl", read=read)
    result = pair_accuracies(pairs, *read_scores(path))
    found = result["suites"]["loud"]["all"]["mean"]
    assert (found["share"], found["pairs"], found["ties"]) == (0.5, 3, 1)
    assert result["suites"]["loud"]["a"]["sum"]["share"] == 0.75
    assert result["suites"]["loud"]["b"]["sum"]["share"] == 0.0
    assert result["suites"]["loud"]["all"]["length"]["share"] == 0.5
    assert (result["n_ok"], result["failures"]) == (3, [])


def test_a_run_that_was_cut_off_scores_only_the_rest(pairs, tmp_path):
    path = tmp_path / "s.jsonl"
    score_recordings(pairs, LoudScorer(), path, read=read)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n", 200) + 1])
    left = whole.count(b"\n") - path.read_bytes().count(b"\n")
    scorer = LoudScorer()
    score_recordings(pairs, scorer, path, read=read)
    assert scorer.calls == left > 0
    assert path.read_bytes() == whole


def test_a_line_that_a_kill_tore_is_scored_again(pairs, tmp_path):
    """The next row was once written behind the torn one, and the file could not be read again."""
    path = tmp_path / "s.jsonl"
    score_recordings(pairs, LoudScorer(), path, read=read)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    score_recordings(pairs, LoudScorer(), path, read=read)
    assert path.read_bytes() == whole


def test_a_recording_without_a_score_is_a_failure_with_its_reason(pairs, tmp_path):
    soundfile.write(pairs[0].neg, np.ones(RATE), RATE, subtype="FLOAT")
    path = score_recordings(pairs, LoudScorer(), tmp_path / "s.jsonl", read=read)
    result = pair_accuracies(pairs, *read_scores(path))
    assert result["n_ok"] == 2
    assert result["failures"][0]["id"] == "loud/0"
    assert "too loud" in result["failures"][0]["reason"]
    assert pair_accuracies(pairs, {})["suites"] == {}


def test_sum_and_mean_may_disagree_and_length_explains_it():
    short, long = TokenScores(np.full(4, -2.0), 1.0), TokenScores(np.full(10, -1.0), 2.5)
    margins = margins_of(long, short, LikelihoodPair("a", "s", "", *_paths()))
    assert margins == {"sum": -2.0, "mean": 1.0, "length": -6.0}


def test_local_looks_at_the_change_only():
    pos = TokenScores(np.array([-9.0] * 10 + [-1.0] * 2 + [-3.0] * 8), 2.0)
    neg = TokenScores(np.array([-1.0] * 10 + [-2.0] * 2 + [-2.0] * 8), 2.0)
    pair = LikelihoodPair("a", "s", "", *_paths(), 1.0, 1.0)
    margins = margins_of(pos, neg, pair, local_seconds=0.2)
    assert margins["mean"] < 0
    assert margins["local"] == pytest.approx(1.0)
    assert margins["after"] == pytest.approx(-0.6)
    late = margins_of(pos, neg, LikelihoodPair("a", "s", "", *_paths(), 5.0, 5.0))
    assert late["local"] == pytest.approx(-1.0)


def _paths():
    from pathlib import Path

    return Path("p.wav"), Path("n.wav")


def test_wilson_by_hand_and_at_the_ends():
    # Published example: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    low, high = wilson_interval(10, 10)
    assert (high, low) == pytest.approx((1.0, 0.7225), abs=1e-3)
    with pytest.raises(ValueError, match="expected 0 to 0 wins"):
        wilson_interval(0, 0)


def test_no_pair_has_no_accuracy():
    assert accuracy([]).share is None


def test_a_manifest_comes_back_as_it_was(pairs, tmp_path):
    path = write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert json.loads(path.read_text().splitlines()[0])["pos"] == "0_pos.wav"
    assert read_pairs(path) == pairs


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("", "expected pairs"),
        ('{"id": "a", "suite": "s", "pos": "p"}\n', "neg"),
        ('{"id": "a", "suite": "s", "pos": "p", "neg": "n"}\n' * 2, "once"),
    ],
)
def test_wrong_manifests_are_refused(tmp_path, lines, match):
    (tmp_path / "pairs.jsonl").write_text(lines)
    with pytest.raises(ValueError, match=match):
        read_pairs(tmp_path / "pairs.jsonl")


@pytest.mark.parametrize("values", [[], [np.nan], [[1.0]]])
def test_scores_that_cannot_be_compared_are_refused(values):
    with pytest.raises(ValueError, match="expected finite"):
        TokenScores(np.array(values), 1.0)


def test_a_change_after_the_end_of_a_recording_fails_with_the_reason(pairs, tmp_path):
    """One in milliseconds was taken for the last token."""
    path = score_recordings(pairs, LoudScorer(), tmp_path / "s.jsonl", read=read)
    late = [replace(pair, change_pos=0.5, change_neg=500.0) for pair in pairs]
    result = pair_accuracies(late, *read_scores(path))
    assert (result["n_ok"], len(result["failures"])) == (0, 3)
    assert "a change within it, got one at 500 s, it is 1 s long" in result["failures"][0]["reason"]


@pytest.mark.parametrize(
    "row", [{"change_pos": -1}, {"change_pos": "0.5"}, {"change_neg": True}, {"part": 3}]
)
def test_a_pair_of_another_type_is_refused(tmp_path, row):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"id": "a", "suite": "s", "pos": "p", "neg": "n", **row}) + "\n")
    with pytest.raises(ValueError, match=r"pairs\.jsonl:1: expected"):
        read_pairs(path)


def test_a_pair_without_a_part_has_none(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"id": "a", "suite": "s", "pos": "p", "neg": "n", "part": null}\n')
    assert read_pairs(path)[0].part == ""


def test_a_recording_that_was_replaced_has_no_score(pairs, tmp_path):
    path = score_recordings(pairs, LoudScorer(), tmp_path / "s.jsonl", read=read)
    soundfile.write(pairs[0].pos, np.full(RATE, 0.1, np.float32), RATE, subtype="FLOAT")
    scores, reasons = read_scores(path)
    assert set(reasons) == {str(pairs[0].pos)}
    assert str(pairs[0].pos) not in scores
    pairs[1].pos.unlink()
    assert str(pairs[1].pos) in read_scores(path)[0]


@pytest.mark.parametrize(
    "row",
    [{"path": "a", "log_likelihoods": [-1.0]}, {"path": "a", "log_likelihoods": [], "seconds": 1}],
)
def test_a_wrong_score_names_its_line(tmp_path, row):
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=r"s\.jsonl:1: expected"):
        read_scores(path)


def test_pairs_that_resemble_each_other_widen_the_interval():
    """An item spoken by four voices counted as four independent pairs."""
    draw = np.random.default_rng(0)
    items = draw.random(50) < 0.7
    margins = [1.0 if won else -1.0 for won in items for _ in range(4)]
    groups = [str(number) for number in range(50) for _ in range(4)]
    alone, grouped = accuracy(margins), accuracy(margins, groups)
    once = accuracy([1.0 if won else -1.0 for won in items])
    assert (grouped.share, grouped.pairs, grouped.groups) == (alone.share, 200, 50)
    # Four copies of an item tell as much as one of them.
    assert grouped.low == pytest.approx(once.low, abs=0.01)
    assert grouped.high == pytest.approx(once.high, abs=0.01)
    # Pairs that do not resemble each other keep about their interval, lone ones theirs.
    apart = [1.0 if won else -1.0 for won in draw.random(200) < 0.7]
    assert accuracy(apart, groups).low == pytest.approx(accuracy(apart).low, abs=0.03)
    assert accuracy(apart, [None] * 200) == accuracy(apart)
    # All won: no more is known than of one pair a group.
    assert accuracy([1.0] * 200, groups).low == pytest.approx(wilson_interval(50, 50)[0])


def test_a_manifest_keeps_the_groups_of_its_pairs(tmp_path):
    pair = LikelihoodPair("a", "s", "", tmp_path / "p.wav", tmp_path / "n.wav", group="ann")
    assert read_pairs(write_pairs(tmp_path / "pairs.jsonl", [pair])) == [pair]
    (tmp_path / "pairs.jsonl").write_text(
        '{"id": "a", "suite": "s", "pos": "p", "neg": "n", "group": 1}'
    )
    with pytest.raises(ValueError, match="a text under 'group'"):
        read_pairs(tmp_path / "pairs.jsonl")
