"""Logits as integer frequencies of an arithmetic coder, by integer arithmetic alone."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Steps a nat that logits are rounded to: a 64th costs about 1e-5 nats a code.
STEPS = 64
_SCALE_BITS = 30  # of the largest weight
_TOTAL = 1 << 24  # of all frequencies, about


@lru_cache(maxsize=1)
def _weights() -> NDArray[np.int64]:
    """2 ** 30 * exp(-k / STEPS), rounded, for k = 0, 1, 2 ... until it is 0.

    Decimal arithmetic rounds the same everywhere; the exponentials of C libraries do not.
    """
    values: list[int] = []
    with localcontext() as context:
        context.prec = 30
        while not values or values[-1]:
            exact = (Decimal(-len(values)) / STEPS).exp() * (1 << _SCALE_BITS)
            values.append(int(exact.to_integral_value()))
    return np.array(values, dtype=np.int64)


def frequencies_of(logits: NDArray[np.float32]) -> NDArray[np.int64]:
    """Frequencies (N,) of symbols, each at least 1, in proportion to exp(logits) (N,) float32.

    Raises:
        ValueError: A logit that is not finite.
    """
    if not np.isfinite(logits).all():
        raise ValueError("expected finite logits of the language model, got others")
    table = _weights()
    # Distance below the largest in whole steps; float64 holds every product exactly.
    steps = np.rint((logits.max() - logits).astype(np.float64) * STEPS)
    weights = table[np.minimum(steps, len(table) - 1).astype(np.int64)]
    # 2 ** 30 * 2 ** 24 fits 63 bits.
    return 1 + weights * (_TOTAL - len(logits)) // weights.sum()
