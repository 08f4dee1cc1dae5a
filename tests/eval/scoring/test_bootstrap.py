"""Bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eval.scoring.bootstrap import bootstrap_mean, paired_difference, pooled_rate


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


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap_mean([]),
        lambda: bootstrap_mean([1.0, float("nan")]),
        lambda: pooled_rate([1.0], [0.0]),
        lambda: pooled_rate([1.0], [1.0, 2.0]),
        lambda: paired_difference([1.0], [1.0, 2.0]),
    ],
)
def test_what_cannot_be_resampled_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()
