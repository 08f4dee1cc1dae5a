"""Mel front ends of the evaluation: log-mels for distances and pictures, Slaney's for networks.

They are kept apart from any codec's front end on purpose: a number must not change because a
codec changed its features.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from codec.mel_filters import triangular_filters

SAMPLE_RATE = 24000
N_FFT = 1024
HOP_LENGTH = 256
N_MELS = 100
# Magnitude that 16-bit rounding noise reaches in a band; what lies below it is not speech.
FLOOR = 1e-3
# Frames transformed at once.
BLOCK = 16384
# Slaney's Auditory Toolbox: linear below 1 kHz, 27 logarithmic steps a factor of 6.4 above.
_LINEAR_HZ = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(frequency: np.ndarray | float) -> np.ndarray:
    """HTK mel scale, frequency in Hz."""
    return 2595.0 * np.log10(1.0 + np.asarray(frequency, dtype=np.float64) / 700.0)


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    """Inverse of `hz_to_mel`, in Hz."""
    return 700.0 * (10.0 ** (np.asarray(mel, dtype=np.float64) / 2595.0) - 1.0)


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """HTK filters with peak 1 from 0 Hz to half the rate, (M, n_fft // 2 + 1)."""
    edges = mel_to_hz(np.linspace(0.0, float(hz_to_mel(sample_rate / 2)), n_mels + 2))
    return triangular_filters(edges, np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1))


def log_mel(
    waveform: np.ndarray,
    sample_rate: int = SAMPLE_RATE,
    *,
    n_fft: int = N_FFT,
    hop_length: int = HOP_LENGTH,
    n_mels: int = N_MELS,
    floor: float = FLOOR,
) -> np.ndarray:
    """Natural log of the mel magnitude spectrogram of a waveform (T,), T > 0.

    Returns:
        (M, L) float64 with L = T // hop_length + 1; the least value is log(floor).

    Raises:
        ValueError: Another shape, or no sample.
    """
    if waveform.ndim != 1 or waveform.size == 0:
        raise ValueError(f"expected a waveform (T,) with T > 0, got shape {waveform.shape}")
    filters = mel_filters(sample_rate, n_fft, n_mels)
    mel = [filters @ part for part in _spectrogram(waveform, n_fft, hop_length, np.float64)]
    return np.log(np.maximum(np.concatenate(mel, axis=1), floor))


@lru_cache(maxsize=8)
def slaney_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Slaney's filters of unit area from 0 Hz to half the rate, (M, n_fft // 2 + 1)."""
    top = _BREAK_MEL + np.log(sample_rate / 2 / _BREAK_HZ) / _LOG_STEP
    mels = np.linspace(0.0, top, n_mels + 2)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (mels - _BREAK_MEL))
    edges = np.where(mels < _BREAK_MEL, mels * _LINEAR_HZ, above)
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    return triangular_filters(edges, bins, unit_area=True)


def slaney_mel(
    waveform: np.ndarray, sample_rate: int, *, n_fft: int, hop_length: int, n_mels: int
) -> np.ndarray:
    """Mel power spectrogram on Slaney's scale, for networks that were trained on it.

    Returns:
        (M, L) with L = T // hop_length + 1 for a waveform (T,).
    """
    # In float32, as the front ends that those networks were trained with.
    filters = slaney_filters(sample_rate, n_fft, n_mels)
    parts = _spectrogram(waveform, n_fft, hop_length, np.float32)
    return np.concatenate([filters @ part**2 for part in parts], axis=1)


def _spectrogram(
    waveform: np.ndarray, n_fft: int, hop_length: int, dtype: type[np.floating]
) -> Iterator[np.ndarray]:
    """Magnitudes (n_fft // 2 + 1, L) under a periodic Hann window, frames centred on the hops.

    They come in blocks of frames: at a hop of 1 ms those of ten minutes at once would take 6 GB.
    """
    padded = np.pad(np.asarray(waveform, dtype=dtype), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    for start in range(0, len(frames), BLOCK):
        # (L, F) to (F, L), the filters being applied from the left
        part = frames[start : start + BLOCK] * window.astype(dtype)
        yield np.abs(np.fft.rfft(part, axis=1)).T
