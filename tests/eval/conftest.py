"""Synthetic speech and a recogniser for tests of the evaluation."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import lfilter

RATE = 24000


def glide(seconds: float, low_hz: float, high_hz: float, sample_rate: int) -> np.ndarray:
    """Harmonics of a pitch that glides between two frequencies, (T,), and no formants."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    f0 = low_hz * (high_hz / low_hz) ** (time / seconds)
    phase = 2 * np.pi * np.cumsum(f0) / sample_rate
    harmonics = [np.sin(k * phase) / k for k in range(1, 25) if k * high_hz < sample_rate / 2]
    return 0.1 * np.sum(harmonics, axis=0)


def speech_like(seconds: float = 2.4, seed: int = 0, sample_rate: int = RATE) -> np.ndarray:
    """Glides through moving formants with pauses and faint breath, (T,) float32."""
    rng = np.random.default_rng(seed)
    pieces: list[np.ndarray] = []
    while sum(piece.size for piece in pieces) < seconds * sample_rate:
        pitch = rng.uniform(95, 230)
        piece = glide(rng.uniform(0.15, 0.4), pitch, pitch * rng.uniform(0.8, 1.25), sample_rate)
        for centre, width in zip(
            rng.uniform([300, 900, 2200], [800, 2000, 3200]), (80, 110, 160), strict=True
        ):
            radius = np.exp(-np.pi * width / sample_rate)
            poles = [1, -2 * radius * np.cos(2 * np.pi * centre / sample_rate), radius**2]
            piece = piece + 0.5 * np.asarray(lfilter([1 - radius], poles, piece))
        pieces += [piece * np.hanning(piece.size) ** 0.3]
        pieces += [np.zeros(round(rng.uniform(0.03, 0.12) * sample_rate))]
    signal = np.concatenate(pieces)[: round(seconds * sample_rate)]
    signal = signal + 3e-4 * rng.standard_normal(signal.size)
    return (0.5 * signal / np.abs(signal).max()).astype(np.float32)


@pytest.fixture(scope="session")
def make_speech() -> Callable[..., np.ndarray]:
    """`speech_like`: (seconds, seed, sample_rate) to a waveform (T,)."""
    return speech_like


@pytest.fixture(scope="session")
def make_glide() -> Callable[..., np.ndarray]:
    """`glide`: (seconds, low_hz, high_hz, sample_rate) to a waveform (T,)."""
    return glide


@pytest.fixture(scope="session")
def add_noise() -> Callable[[np.ndarray, float], np.ndarray]:
    """White noise at a signal-to-noise ratio in dB, always the same draw."""

    def noisy(waveform: np.ndarray, snr_db: float) -> np.ndarray:
        noise = np.random.default_rng(7).standard_normal(waveform.size)
        gain = np.sqrt(np.mean(waveform**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
        return (waveform + gain * noise).astype(np.float32)

    return noisy
