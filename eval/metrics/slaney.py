"""Mel power spectrograms on Slaney's scale, for models that were trained on them."""

from functools import lru_cache

import numpy as np

# Slaney's Auditory Toolbox: linear below 1 kHz, 27 logarithmic steps a factor of 6.4 above.
_LINEAR_HZ = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def slaney_to_hz(mel: np.ndarray) -> np.ndarray:
    """Frequencies in Hz of mels on Slaney's scale."""
    linear = mel * _LINEAR_HZ
    return np.where(mel < _BREAK_MEL, linear, _BREAK_HZ * np.exp(_LOG_STEP * (mel - _BREAK_MEL)))


@lru_cache(maxsize=8)
def slaney_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Triangular filters of unit area from 0 Hz to half the rate, (M, n_fft // 2 + 1)."""
    top = _BREAK_MEL + np.log(sample_rate / 2 / _BREAK_HZ) / _LOG_STEP
    edges = slaney_to_hz(np.linspace(0.0, top, n_mels + 2))
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    height = 2.0 / (edges[2:] - edges[:-2])
    return np.maximum(0.0, np.minimum(rising, falling)) * height[:, None]


def slaney_mel(
    waveform: np.ndarray, sample_rate: int, *, n_fft: int, hop_length: int, n_mels: int
) -> np.ndarray:
    """Mel power spectrogram of a waveform (T,), (M, L) with L = T // hop_length + 1.

    Frames are centred on multiples of the hop, with zeros beyond both ends, under a Hann window.
    """
    padded = np.pad(np.asarray(waveform, dtype=np.float32), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    power = np.abs(np.fft.rfft(frames * window.astype(np.float32), axis=1)) ** 2
    return slaney_filters(sample_rate, n_fft, n_mels) @ power.T
