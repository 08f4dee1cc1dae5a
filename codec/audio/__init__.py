"""Recordings: reading, writing, resampling, lists of sources, and stores of audio."""

from __future__ import annotations

from .io import (
    AudioError,
    audio_info,
    read_audio,
    read_samples,
    resampled_length,
    write_audio,
)

__all__ = [
    "AudioError",
    "audio_info",
    "read_audio",
    "read_samples",
    "resampled_length",
    "write_audio",
]
