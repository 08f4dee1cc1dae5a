"""Loudness of recordings: gains to an RMS level within the peak of full scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.speech_level import measure_level


def normalize_loudness(
    waveform: NDArray[np.float32], loudness_dbfs: float, sample_rate: int = 24_000
) -> NDArray[np.float32]:
    """Scale to an RMS level, or as near to it as a peak of 1 allows.

    Of a clip that is mostly silence it is the level of its speech (`codec.speech_level`).

    Args:
        waveform: (T,).
        loudness_dbfs: Wanted RMS, dB relative to a full-scale square wave.
        sample_rate: Hz.

    Returns:
        (T,) float32; silence comes back unchanged.
    """
    rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    rms *= measure_level([waveform], sample_rate).ratio
    gain = loudness_gain(rms, float(np.abs(waveform).max()), loudness_dbfs)
    return waveform if gain == 1.0 else (waveform * gain).astype(np.float32)


def loudness_gain(rms: float, peak: float, loudness_dbfs: float) -> float:
    """Compute the factor that brings a recording to an RMS level, or as near as a peak of 1 allows.

    Args:
        rms: Of the recording, full scale = 1.
        peak: Of the recording, full scale = 1.
        loudness_dbfs: Wanted RMS, dB relative to a full-scale square wave.

    Returns:
        The factor; 1 for silence.
    """
    if rms < 1e-6:
        return 1.0
    return min(10.0 ** (loudness_dbfs / 20.0) / rms, 1.0 / peak)
