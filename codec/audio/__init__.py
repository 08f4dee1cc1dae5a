"""Recordings: reading, writing, resampling, lists of sources, and stores of audio."""

from __future__ import annotations

from .io import read_audio, write_audio

__all__ = ["read_audio", "write_audio"]
