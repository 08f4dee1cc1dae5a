"""Confidence intervals of corpus figures by seeded bootstrap over speakers and their utterances.

What is resampled is what was sampled: where the items name more than one speaker, speakers are
drawn, then utterances of each, since utterances of one speaker resemble one another. Drawing
utterances alone would give intervals that hold for other utterances of the same speakers only.
"""

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
    count: int  # observations
    groups: int = 0  # speakers among them, 0 where none is named; from 2 on they are resampled


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
    groups: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Compute the mean of values (N,) with its percentile bootstrap interval.

    Args:
        values: One of each observation.
        groups: Name of the speaker of each, "" where unknown; None without names. Of two speakers
            or more, speakers are drawn and then their observations.
        seed: Seed of the draws.
        resamples: Draws.
        level: Share of the draws within the interval.

    Raises:
        ValueError: No values, one that is not finite, or another count of groups.
    """
    data = _checked(values, "values")
    ones = np.ones_like(data)
    return pooled_rate(data, ones, groups=groups, seed=seed, resamples=resamples, level=level)


def pooled_rate(
    numerators: Sequence[float] | np.ndarray,
    denominators: Sequence[float] | np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Compute sum(numerators) / sum(denominators), such as a WER, with its bootstrap interval.

    Numerators (N,) are such as word errors, denominators (N,) >= 0 such as reference words. Whole
    utterances are drawn, as errors within one are not independent; with `groups`, those of drawn
    speakers, see `bootstrap_mean`.

    Raises:
        ValueError: Nothing to pool, lengths that differ, values that are not finite.
    """
    above, below = _checked(numerators, "numerators"), _checked(denominators, "denominators")
    if above.size != below.size or (below < 0).any() or below.sum() <= 0:
        raise ValueError(
            f"expected {above.size} denominators >= 0 with a positive sum, got {below.size} "
            f"with the sum {below.sum()}"
        )
    ends = _bootstrap(
        [above, below], _rate, groups=groups, seed=seed, resamples=resamples, level=level
    )
    return Interval(*ends, above.size, group_count(groups))


def paired_difference(
    ours: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> PairedDifference:
    """Compute the mean of `ours - theirs` over the same items (N,), in the same order.

    Figures vary far more between clips than between systems, so this interval is several times
    narrower than that of either mean. Groups are those of `bootstrap_mean`.

    Raises:
        ValueError: Lengths differ, no values, or one that is not finite.
    """
    mine, other = _checked(ours, "ours"), _checked(theirs, "theirs")
    if mine.size != other.size:
        raise ValueError(f"expected the same items, got {mine.size} and {other.size} values")
    difference = mine - other
    return PairedDifference(
        bootstrap_mean(difference, groups=groups, seed=seed, resamples=resamples, level=level),
        larger=int((difference > 0).sum()),
        smaller=int((difference < 0).sum()),
        equal=int((difference == 0).sum()),
    )


def paired_rates(
    ours: tuple[np.ndarray, np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float | None, float | None]:
    """Compute the difference of two pooled rates over the same items, with its interval.

    Both systems have numerators and denominators, (N,) each; denominators of 1 make it the
    difference of means. Whole items are drawn, the same ones for both; groups are those of
    `bootstrap_mean`.

    Returns:
        sum(numerators) / sum(denominators) of A minus that of B, and its ends, None for N = 1.
    """

    def difference(sums: Sequence[np.ndarray]) -> np.ndarray:
        return _rate(sums[:2]) - _rate(sums[2:])

    rows = [np.asarray(row, dtype=np.float64) for row in (*ours, *theirs)]
    return _bootstrap(rows, difference, groups=groups, seed=seed, resamples=resamples, level=level)


def group_count(groups: Sequence[str] | None) -> int:
    """Count the speakers that groups name; "" names none."""
    return len({name for name in groups or () if name})


def _rate(sums: Sequence[np.ndarray]) -> np.ndarray:
    """Divide numerators by denominators, which may be 0 in a draw."""
    return sums[0] / np.maximum(sums[1], 1e-12)


def _bootstrap(
    rows: Sequence[np.ndarray],
    statistic: Callable[[Sequence[np.ndarray]], np.ndarray],
    *,
    groups: Sequence[str] | None,
    seed: int,
    resamples: int,
    level: float,
) -> tuple[float, float | None, float | None]:
    """Compute a statistic of the sums of rows (N,) of the same items, with its interval."""
    value, count = float(statistic([row.sum() for row in rows])), rows[0].size
    members = _members(groups, count)
    if count < 2:
        return value, None, None
    rng, size = np.random.default_rng(seed), max(1, _BLOCK // count)
    drawn = []
    for start in range(0, resamples, size):
        draws = min(size, resamples - start)
        drawn.append(statistic(_drawn_sums(rows, members, draws, rng)))
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(drawn), [tail, 1.0 - tail])
    return value, float(low), float(high)


def _members(groups: Sequence[str] | None, count: int) -> list[np.ndarray]:
    """Indices of the items of each group, in the order of first appearance; [] for no groups.

    Items without a name make one group: they may all be of one speaker.

    Raises:
        ValueError: Not one group an item.
    """
    if groups is not None and len(groups) != count:
        raise ValueError(f"expected a group for each of {count} items, got {len(groups)}")
    # Groups of one item each are the items themselves.
    if groups is None or not 1 < group_count(groups) < count:
        return []
    found: dict[str, list[int]] = {}
    for index, name in enumerate(groups):
        found.setdefault(name, []).append(index)
    return [np.array(indices) for indices in found.values()]


def _drawn_sums(
    rows: Sequence[np.ndarray],
    members: Sequence[np.ndarray],
    draws: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Sums (draws,) of each row over items drawn with replacement, the same ones for every row."""
    if not members:
        count = rows[0].size
        picks = rng.integers(0, count, (draws, count))
        return [row[picks].sum(axis=1) for row in rows]
    sums = [np.zeros(draws) for _ in rows]
    chosen = rng.integers(0, len(members), (draws, len(members)))
    # Draws of each group one after the other: comparing all draws with every group would take time
    # with the square of the speakers.
    by_group = np.argsort(chosen, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(chosen.ravel(), minlength=len(members)))
    for items, places in zip(members, np.split(by_group, ends[:-1]), strict=True):
        # A group that was drawn twice in one draw is resampled twice, each time anew.
        draw = places // len(members)
        picks = items[rng.integers(0, items.size, (draw.size, items.size))]
        for total, row in zip(sums, rows, strict=True):
            np.add.at(total, draw, row[picks].sum(axis=1))
    return sums


def _checked(values: Sequence[float] | np.ndarray, name: str) -> np.ndarray:
    """Values (N,) as float64, or a ValueError naming them."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0 or not np.isfinite(data).all():
        raise ValueError(f"expected finite {name} (N,) with N > 0, got shape {data.shape}")
    return data
