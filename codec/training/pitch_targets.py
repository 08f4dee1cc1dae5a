"""Pitch and voicing of recordings on the frames of a mel, tracked by `swift-f0`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.audio.resample import Resampler
from codec.model.harmonic_vocoder import HIGHEST_HZ, LOWEST_HZ

TRACKER_RATE = 16_000
VOICED_CONFIDENCE = 0.5


@lru_cache(maxsize=1)
def _tracker() -> Any:
    """The detector, built once in a process.

    Raises:
        ImportError: swift-f0 is not installed.
    """
    try:
        from swift_f0 import SwiftF0
    except ImportError as error:
        raise ImportError(
            "a phase with weights.pitch > 0 tracks the pitch of recordings with swift-f0: "
            "pip install 'hh-slm[train]'"
        ) from error
    return SwiftF0(threads=1, spin=False)


def track_pitch(waveform: Tensor, sample_rate: int, hop_length: int) -> tuple[Tensor, Tensor]:
    """Track the pitch of recordings (https://github.com/lars76/swift-f0, MIT).

    Args:
        waveform: (B, T), T a multiple of `hop_length`.
        sample_rate: Hz.
        hop_length: samples a frame; frame i is centred at (i + 0.5) * hop_length.

    Returns:
        pitch (B, F) float32, Hz, and voiced (B, F) bool, F = T / hop_length. Where a frame is not
        voiced, its pitch means nothing.

    Raises:
        ImportError: swift-f0 is not installed.
    """
    frames = waveform.shape[-1] // hop_length
    times = (np.arange(frames) + 0.5) * hop_length / sample_rate
    heard = Resampler(sample_rate, TRACKER_RATE)(waveform.detach().float().cpu()).numpy()
    rows = [_tracked(row, times) for row in heard]
    octaves, confidence = (
        torch.from_numpy(np.stack(part)).float() for part in zip(*rows, strict=True)
    )
    voiced = confidence >= VOICED_CONFIDENCE
    return octaves.exp2().to(waveform.device), voiced.to(waveform.device)


def _tracked(samples: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Octaves over 1 Hz and confidence of a recording (T,) at the given times, in seconds."""
    found = _tracker().detect(samples, TRACKER_RATE, LOWEST_HZ, HIGHEST_HZ)
    octaves = np.interp(times, found.timestamps, np.log2(found.pitch_hz))
    return octaves, np.interp(times, found.timestamps, found.confidence)
