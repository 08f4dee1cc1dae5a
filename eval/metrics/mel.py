"""Log-mel front end of the evaluation: for distances and for pictures.

It is kept apart from any model's front end on purpose: a number must not change because a codec
changed its features.
"""

from functools import lru_cache

import numpy as np

SAMPLE_RATE = 24000
N_FFT = 1024
HOP_LENGTH = 256
N_MELS = 100
# Magnitude that 16-bit rounding noise reaches in a band; what lies below it is not speech.
FLOOR = 1e-3


def hz_to_mel(frequency: np.ndarray | float) -> np.ndarray:
    """HTK mel scale, frequency in Hz."""
    return 2595.0 * np.log10(1.0 + np.asarray(frequency, dtype=np.float64) / 700.0)


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    """Inverse of `hz_to_mel`, in Hz."""
    return 700.0 * (10.0 ** (np.asarray(mel, dtype=np.float64) / 2595.0) - 1.0)


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int, n_fft: int, n_mels: int) -> np.ndarray:
    """Triangular filters with peak 1 from 0 Hz to half the rate, (M, n_fft / 2 + 1)."""
    edges = mel_to_hz(np.linspace(0.0, float(hz_to_mel(sample_rate / 2)), n_mels + 2))
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


def log_mel(
    waveform: np.ndarray,
    sample_rate: int = SAMPLE_RATE,
    *,
    n_fft: int = N_FFT,
    hop_length: int = HOP_LENGTH,
    n_mels: int = N_MELS,
    floor: float = FLOOR,
) -> np.ndarray:
    """Natural log of the mel magnitude spectrogram of a waveform (T,).

    Frames are centred on multiples of the hop, with zeros beyond both ends, under a Hann window.

    Returns:
        (M, L) float64 with L = T // hop_length + 1; the least value is log(floor).
    """
    if waveform.ndim != 1 or waveform.size == 0:
        raise ValueError(f"expected a waveform (T,) with T > 0, got shape {waveform.shape}")
    padded = np.pad(np.asarray(waveform, dtype=np.float64), n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    magnitude = np.abs(np.fft.rfft(frames * window, axis=1))
    return np.log(np.maximum(mel_filters(sample_rate, n_fft, n_mels) @ magnitude.T, floor))
