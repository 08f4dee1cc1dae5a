"""Pitch and voicing of recordings on the frames of a mel, tracked by `swift-f0`."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.audio.resample import Resampler
from codec.model.harmonic_vocoder import HIGHEST_HZ, LOWEST_HZ
from codec.requirements import install_command

TRACKER_RATE = 16_000
VOICED_CONFIDENCE = 0.5


@lru_cache(maxsize=1)
def _tracker(process: int) -> Any:
    """The tracker, built once in a process, and in each that is forked from it.

    Raises:
        ImportError: swift-f0 is not installed.
    """
    del process  # a part of the key alone
    try:
        from swift_f0 import SwiftF0
    except ImportError as error:
        raise ImportError(
            "a phase with weights.pitch > 0 tracks the pitch of recordings with swift-f0: "
            + install_command("swift-f0")
        ) from error
    return SwiftF0(threads=1, spin=False)


def track_pitch(waveform: Tensor, sample_rate: int, hop_length: int) -> tuple[Tensor, Tensor]:
    """Track the pitch of recordings (https://github.com/lars76/swift-f0, MIT).

    Args:
        waveform: (B, T), T a multiple of `hop_length`.
        sample_rate: Hz.
        hop_length: Samples a frame; frame i is centred at (i + 0.5) * hop_length.

    Returns:
        Pitch (B, F) float32, Hz, and voiced (B, F) bool, F = T / hop_length. Where a frame is not
        voiced, its pitch means nothing.

    Raises:
        ImportError: swift-f0 is not installed.
    """
    frames = waveform.shape[-1] // hop_length
    times = (np.arange(frames) + 0.5) * hop_length / sample_rate
    resampled = Resampler(sample_rate, TRACKER_RATE)(waveform.detach().float().cpu()).numpy()
    octaves, confidences = [], []
    for row in resampled:
        tracked = _tracker(os.getpid()).detect(row, TRACKER_RATE, LOWEST_HZ, HIGHEST_HZ)
        # interpolated in octaves, in which a glide is a line
        octaves.append(np.interp(times, tracked.timestamps, np.log2(tracked.pitch_hz)))
        confidences.append(np.interp(times, tracked.timestamps, tracked.confidence))
    pitch = torch.from_numpy(np.stack(octaves)).float().exp2()
    voiced = torch.from_numpy(np.stack(confidences)).float() >= VOICED_CONFIDENCE
    return pitch.to(waveform.device), voiced.to(waveform.device)
