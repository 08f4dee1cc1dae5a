"""16-bit samples of float waveforms, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_integers(waveform: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    """Round (T,) in [-1, 1] to int16, little-endian; values beyond are clipped."""
    # Not scaled by 32768, which 1.0 would overflow.
    return np.round(np.clip(waveform, -1.0, 1.0) * 32767.0).astype("<i2")


def as_waveform(integers: NDArray[np.int16]) -> NDArray[np.float32]:
    """Turn (T,) of `as_integers` into float32 in [-1, 1]."""
    return integers.astype(np.float32) / 32767.0
