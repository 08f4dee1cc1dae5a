"""Recordings as callers hold them: files, arrays at the codec's rate, and arrays with a rate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from torch import Tensor

Samples = NDArray[Any] | Tensor | Sequence[float]
# A file; samples at the codec's rate; samples with their rate in Hz, in either order; or the
# `array` and `sampling_rate` that `datasets` has a recording in.
Recording = Path | str | Samples | tuple[Samples, int] | tuple[int, Samples] | Mapping[str, Any]
_EXPECTED = "a path, samples (T,), or a pair of samples and their rate in Hz"
_COLUMNS = "array", "sampling_rate"
_FULL_SCALE = {"int16": float(1 << 15), "int32": float(1 << 31)}


def with_rate(recording: Recording | None, rate: int | None) -> Recording | None:
    """Pair samples with their rate, where one is given.

    Raises:
        ValueError: A rate for a file or a pair, which have their own, or for nothing.
    """
    if rate is None:
        return recording
    recording = _pair(recording)
    if recording is None or isinstance(recording, str | os.PathLike) or _rate_of(recording):
        got = "nothing" if recording is None else type(recording).__name__
        raise ValueError(f"expected samples for prompt_rate {rate}, got {got}; leave the rate out")
    return recording, rate  # type: ignore[return-value]


def as_recording(given: Recording, sample_rate: int) -> Path | NDArray[np.float32]:
    """Bring a recording to the form that a synthesizer works with.

    Args:
        given: A path; samples (T,) at `sample_rate`, floats in [-1, 1] or int16 or int32; or a pair
            of such samples and their rate, also as `{"array": ..., "sampling_rate": ...}`.
            Channels, (C, T) or (T, C), are averaged.
        sample_rate: Of the codec, Hz.

    Returns:
        The path, or samples (T,) float32 at `sample_rate`.

    Raises:
        ValueError: Something else, no samples, or some that are not finite.
    """
    if isinstance(given, str | os.PathLike):
        return Path(given)
    samples: Any = _pair(given)
    rate = _rate_of(samples)
    if rate is not None:
        samples = next(each for each in samples if not isinstance(each, Integral))
        if not 1 <= rate <= 768_000:
            raise ValueError(f"expected a rate in 1..768000 Hz, got {rate}")
    waveform = _mono(samples)
    if rate in (None, sample_rate):
        return waveform
    return soxr.resample(waveform, rate, sample_rate, quality="VHQ").astype(np.float32)


def _pair(given: Any) -> Any:
    """Samples and rate of a mapping that has both; anything else as it is."""
    is_row = isinstance(given, Mapping) and all(name in given for name in _COLUMNS)
    return tuple(given[name] for name in _COLUMNS) if is_row else given


def _rate_of(given: Any) -> int | None:
    """The rate in a pair; None where it is no pair."""
    if not isinstance(given, tuple) or len(given) != 2:
        return None
    rates = [int(each) for each in given if isinstance(each, Integral)]
    return rates[0] if len(rates) == 1 else None


def _mono(samples: Any) -> NDArray[np.float32]:
    """Samples (T,) float32 in [-1, 1] of an array, a tensor or numbers."""
    if isinstance(samples, Tensor):
        plain = samples.detach().cpu()
        samples = (plain.float() if plain.is_floating_point() else plain).numpy()
    try:
        array = np.asarray(samples)
    except ValueError as error:
        raise ValueError(f"expected {_EXPECTED}, got {type(samples).__name__}") from error
    kind = str(array.dtype)
    if not (np.issubdtype(array.dtype, np.floating) or kind in _FULL_SCALE):
        raise ValueError(f"expected {_EXPECTED}, got {type(samples).__name__} of {array.dtype}")
    array = array.astype(np.float32) / np.float32(_FULL_SCALE.get(kind, 1.0))
    array = array.reshape(array.shape[-2:]) if array.ndim == 3 and len(array) == 1 else array
    if array.ndim == 2:
        # Of channels and samples there are always more samples.
        array = array.mean(axis=int(np.argmin(array.shape)))
    if array.ndim != 1 or not len(array):
        raise ValueError(f"expected {_EXPECTED}, got samples of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("expected finite samples, got NaN or infinity in the recording")
    return array
