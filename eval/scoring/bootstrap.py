"""Confidence intervals of corpus figures by seeded bootstrap over utterances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
# Draws held in memory at once; keeps a large corpus from needing resamples * n integers.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A figure with its bootstrap interval."""

    value: float  # the figure on the data as they are
    low: float | None  # lower end; None when one observation leaves nothing to resample
    high: float | None  # upper end; None likewise
    count: int


@dataclass(frozen=True)
class PairedDifference:
    """Difference of two systems on the same items, `ours - theirs`."""

    interval: Interval
    larger: int  # items on which ours is larger
    smaller: int  # items on which ours is smaller
    equal: int  # items on which both are equal


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Compute the mean of values (N,) with its percentile bootstrap interval.

    Raises:
        ValueError: No values, or one that is not finite.
    """
    data = _checked(values, "values")
    return pooled_rate(data, np.ones_like(data), seed=seed, resamples=resamples, level=level)


def pooled_rate(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Compute sum(numerators) / sum(denominators), such as a WER, with its bootstrap interval.

    Numerators (N,) are such as word errors, denominators (N,) >= 0 such as reference words. Whole
    utterances are drawn, as errors within one are not independent.

    Raises:
        ValueError: Nothing to pool, lengths that differ, values that are not finite.
    """
    above, below = _checked(numerators, "numerators"), _checked(denominators, "denominators")
    if above.size != below.size or (below < 0).any() or below.sum() <= 0:
        raise ValueError(
            f"expected {above.size} denominators >= 0 with a positive sum, got {below.size} "
            f"with the sum {below.sum()}"
        )
    ends = _bootstrap([above, below], _rate, seed=seed, resamples=resamples, level=level)
    return Interval(*ends, above.size)


def paired_difference(
    ours: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> PairedDifference:
    """Compute the mean of `ours - theirs` over the same items (N,), in the same order.

    Figures vary far more between clips than between systems, so this interval is several times
    narrower than that of either mean.

    Raises:
        ValueError: Lengths differ, no values, or one that is not finite.
    """
    mine, other = _checked(ours, "ours"), _checked(theirs, "theirs")
    if mine.size != other.size:
        raise ValueError(f"expected the same items, got {mine.size} and {other.size} values")
    difference = mine - other
    return PairedDifference(
        bootstrap_mean(difference, seed=seed, resamples=resamples, level=level),
        larger=int((difference > 0).sum()),
        smaller=int((difference < 0).sum()),
        equal=int((difference == 0).sum()),
    )


def paired_rates(
    ours: tuple[np.ndarray, np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float | None, float | None]:
    """Compute the difference of two pooled rates over the same items, with its interval.

    Both systems have numerators and denominators, (N,) each; denominators of 1 make it the
    difference of means. Whole items are drawn, the same ones for both.

    Returns:
        sum(numerators) / sum(denominators) of A minus that of B, and its ends, None for N = 1.
    """

    def difference(sums: Sequence[np.ndarray]) -> np.ndarray:
        return _rate(sums[:2]) - _rate(sums[2:])

    rows = [np.asarray(row, dtype=np.float64) for row in (*ours, *theirs)]
    return _bootstrap(rows, difference, seed=seed, resamples=resamples, level=level)


def _rate(sums: Sequence[np.ndarray]) -> np.ndarray:
    """Divide numerators by denominators, which may be 0 in a draw."""
    return sums[0] / np.maximum(sums[1], 1e-12)


def _bootstrap(
    rows: Sequence[np.ndarray],
    statistic: Callable[[Sequence[np.ndarray]], np.ndarray],
    *,
    seed: int,
    resamples: int,
    level: float,
) -> tuple[float, float | None, float | None]:
    """Compute a statistic of the sums of rows (N,) of the same items, with its interval."""
    value, count = float(statistic([row.sum() for row in rows])), rows[0].size
    if count < 2:
        return value, None, None
    rng, size = np.random.default_rng(seed), max(1, _BLOCK // count)
    drawn = []
    for start in range(0, resamples, size):
        # (draws, N) indices with replacement: every row is resampled at the same items.
        picks = rng.integers(0, count, (min(size, resamples - start), count))
        drawn.append(statistic([row[picks].sum(axis=1) for row in rows]))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(drawn), [tail, 1.0 - tail])
    return value, float(low), float(high)


def _checked(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    """Values (N,) as float64, or a ValueError naming them."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0 or not np.isfinite(data).all():
        raise ValueError(f"expected finite {name} (N,) with N > 0, got shape {data.shape}")
    return data
