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
from .pcm import as_integers

__all__ = [
    "AudioError",
    "as_integers",
    "audio_info",
    "read_audio",
    "read_samples",
    "resampled_length",
    "write_audio",
]
