"""The level of a recording that is read in parts, and the gain that takes it to a codec's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from codec.model.hh_codec import HHCodec
from codec.speech_level import FramePowers, Level

LEVEL_BLOCK = 1 << 20  # samples; the sum of squares is taken in this order whatever the reader

# Samples [first, first + count) of a recording, (count,) float32 at the codec's rate.
Read = Callable[[int, int], NDArray[np.float32]]


def recording_level(codec: HHCodec, read: Read, num_samples: int) -> Level:
    """Measure the level of a recording as `HHCodec.scaled` does, a block at a time.

    A codec that leaves levels alone has the recording as it is: level 1, nothing is read.
    """
    if codec.config.loudness_dbfs is None:
        return Level(1.0, 1.0)
    meter, energy = FramePowers(codec.sample_rate), 0.0
    for first in range(0, num_samples, LEVEL_BLOCK):
        block = read(first, min(LEVEL_BLOCK, num_samples - first))
        energy += float(np.square(block, dtype=np.float64).sum())
        meter.push(block)
    level, plain = meter.level(), math.sqrt(energy / num_samples)
    return Level(plain * level.ratio, plain, level.offset)


def encoding_gain(codec: HHCodec, level: Level) -> float:
    """Compute the factor from a recording's level to the codec's; 1 for silence."""
    if codec.config.loudness_dbfs is None or level.is_silent:
        return 1.0
    return 10.0 ** (codec.config.loudness_dbfs / 20.0) / level.rms
