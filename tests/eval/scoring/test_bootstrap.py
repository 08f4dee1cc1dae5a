"""Bootstrap intervals."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from eval.scoring.bootstrap import bootstrap_mean, paired_difference, paired_rates, pooled_rate


def test_interval_matches_the_normal_one_for_many_normal_values() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    got = bootstrap_mean(values)
    half = 1.96 * values.std() / 20
    assert got.value == pytest.approx(values.mean())
    assert got.low == pytest.approx(values.mean() - half, abs=0.03)
    assert got.high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_seed_decides_the_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        got = bootstrap_mean(rng.normal(size=40), resamples=400)
        assert got.low is not None
        assert got.high is not None
        hits += got.low <= 0.0 <= got.high
    assert 178 <= hits <= 198


def test_pooled_rate_weighs_by_length() -> None:
    got = pooled_rate([1, 0], [1, 9])
    assert got.value == pytest.approx(0.1)
    assert (got.low, got.high) == (0.0, 1.0)


def test_one_value_has_no_interval() -> None:
    got = bootstrap_mean([2.0])
    assert (got.value, got.low, got.high, got.count) == (2.0, None, None, 1)


def test_pairing_finds_a_small_difference_that_means_cannot() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(0.0, 1.0, 50)
    ours = theirs + 0.05 + rng.normal(0.0, 0.02, 50)
    got = paired_difference(ours, theirs)
    assert got.interval.low is not None
    assert got.interval.low > 0.0
    assert got.larger + got.smaller + got.equal == 50
    apart = bootstrap_mean(ours)
    assert apart.low is not None
    assert apart.low < theirs.mean()


def test_two_speakers_with_constant_values_span_the_interval() -> None:
    # A quarter of the draws holds only the first speaker, a quarter only the second.
    values, speakers = [0.0] * 3 + [1.0] * 5, ["a"] * 3 + ["b"] * 5
    got = bootstrap_mean(values, groups=speakers)
    assert got.value == pytest.approx(5 / 8)
    assert (got.low, got.high, got.count, got.groups) == (0.0, 1.0, 8, 2)
    over_clips = bootstrap_mean(values)
    assert over_clips.low is not None
    assert over_clips.low > 0.0
    # The clips of each speaker pooled: 2 of 4 and 6 of 6.
    rate = pooled_rate([1, 1, 3, 3], [2, 2, 3, 3], groups=["a", "a", "b", "b"])
    assert rate.value == pytest.approx(0.8)
    assert (rate.low, rate.high) == (0.5, 1.0)


def test_clips_of_a_drawn_speaker_are_drawn_too() -> None:
    # Speakers of equal means: all that is left is what clips within a speaker differ by.
    got = bootstrap_mean([0.0, 1.0, 0.0, 1.0], groups=["a", "a", "b", "b"])
    assert (got.low, got.high) == (0.0, 1.0)


def test_a_paired_difference_is_over_speakers_too() -> None:
    ours, theirs = np.array([1.0, 1.0, 1.0, 5.0, 5.0, 5.0]), np.array([2.0] * 3 + [3.0] * 3)
    groups = ["a"] * 3 + ["b"] * 3
    got = paired_difference(ours, theirs, groups=groups).interval
    assert (got.value, got.low, got.high, got.groups) == (0.5, -1.0, 2.0, 2)
    ones = np.ones(6)
    assert paired_rates((ours, ones), (theirs, ones), groups=groups) == (0.5, -1.0, 2.0)


def test_one_speaker_and_a_speaker_a_clip_are_resampled_as_clips() -> None:
    values = np.random.default_rng(0).normal(size=12)
    plain = bootstrap_mean(values)
    for groups in (["a"] * 12, [""] * 12, [str(n) for n in range(12)], ["a"] * 6 + [""] * 6):
        got = bootstrap_mean(values, groups=groups)
        assert (got.low, got.high) == (plain.low, plain.high)
    assert bootstrap_mean(values, groups=["a"] * 6 + [""] * 6).groups == 1


def test_intervals_over_speakers_widen_as_their_variance_says() -> None:
    # 8 speakers of 50 clips: the mean varies with the speakers' spread, not with that of 400 clips.
    rng = np.random.default_rng(0)
    means = np.repeat(rng.normal(0.0, 1.0, 8), 50)
    values = means + rng.normal(0.0, 0.1, 400)
    got = bootstrap_mean(values, groups=[str(n // 50) for n in range(400)])
    assert got.low is not None
    assert got.high is not None
    spread = means.std() / np.sqrt(8)
    assert got.high - got.low == pytest.approx(2 * 1.96 * spread, rel=0.15)


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap_mean([]),
        lambda: bootstrap_mean([1.0, float("nan")]),
        lambda: pooled_rate([1.0], [0.0]),
        lambda: pooled_rate([1.0], [1.0, 2.0]),
        lambda: paired_difference([1.0], [1.0, 2.0]),
        lambda: bootstrap_mean([1.0, 2.0], groups=["a"]),
    ],
)
def test_what_cannot_be_resampled_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()


def test_intervals_over_thousands_of_speakers_take_seconds() -> None:
    """Every draw was compared with every speaker: a minute a figure for a corpus of strangers."""
    rng = np.random.default_rng(0)
    values, names = rng.random(4000), [f"speaker{n}" for n in rng.integers(0, 2000, 4000)]
    start = time.process_time()
    found = bootstrap_mean(values, groups=names)
    assert time.process_time() - start < 5.0
    assert found.groups > 1500
    assert found.low is not None
    assert found.low < found.value


def test_draws_of_speakers_are_those_of_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    values, groups = rng.random(40), np.array([f"s{n}" for n in rng.integers(0, 7, 40)])
    members = [np.flatnonzero(groups == name) for name in dict.fromkeys(groups)]
    draws = np.random.default_rng(3)
    chosen = draws.integers(0, 7, (50, 7))
    sums, counts = np.zeros(50), np.zeros(50)
    for index, items in enumerate(members):
        draw, _ = np.nonzero(chosen == index)
        picks = items[draws.integers(0, items.size, (draw.size, items.size))]
        np.add.at(sums, draw, values[picks].sum(axis=1))
        np.add.at(counts, draw, items.size)
    low, high = np.quantile(sums / counts, [0.025, 0.975])
    found = bootstrap_mean(values, groups=list(groups), seed=3, resamples=50)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
