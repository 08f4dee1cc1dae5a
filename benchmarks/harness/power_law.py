"""Exponents of power laws, fitted to times by least squares in log-log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# A curve is worse than linear where its exponent is beyond this by two standard errors.
LINEAR = 1.1


@dataclass(frozen=True)
class Fit:
    """Time ~ size ** exponent."""

    exponent: float  # slope of log(time) over log(size)
    error: float  # its standard error
    last: float  # slope between the last two points, where a fixed cost hides the growth least

    @property
    def worse_than_linear(self) -> bool:
        """True if time grows faster than size, beyond what two standard errors explain."""
        return self.exponent - 2 * self.error > LINEAR


def fit_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> Fit:
    """Fit log(seconds) = exponent * log(size) + constant.

    Args:
        sizes: At least three, positive, rising.
        seconds: As many, positive.

    Raises:
        ValueError: They are not.
    """
    if len(sizes) < 3 or len(sizes) != len(seconds):
        raise ValueError(
            f"expected three or more points, got {len(sizes)} sizes and {len(seconds)} times"
        )
    if min(sizes) <= 0 or min(seconds) <= 0 or list(sizes) != sorted(set(sizes)):
        raise ValueError(f"expected rising sizes and times above 0, got {sizes} and {seconds}")
    x, y = [math.log(size) for size in sizes], [math.log(time) for time in seconds]
    count, middle, level = len(x), sum(x) / len(x), sum(y) / len(y)
    spread = sum((each - middle) ** 2 for each in x)
    # Ordinary least squares, and the standard error of the slope from the residuals.
    slope = sum((a - middle) * (b - level) for a, b in zip(x, y, strict=True)) / spread
    rest = [b - level - slope * (a - middle) for a, b in zip(x, y, strict=True)]
    error = math.sqrt(sum(each**2 for each in rest) / (count - 2) / spread)
    return Fit(slope, error, (y[-1] - y[-2]) / (x[-1] - x[-2]))
