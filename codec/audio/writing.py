"""Writing of recordings as mono 16-bit WAV and FLAC."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from codec.files import whole_file

from .opening import AudioError, native_path

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
# Full scale of samples that are whole numbers, as soundfile and scipy read them.
FULL_SCALE = {"int16": float(1 << 15), "int32": float(1 << 31)}
# A WAV file counts its bytes in 32 bits; what is longer becomes RF64, its 64-bit form.
LARGEST_WAV = (1 << 32) - 1024


def write_audio(
    path: str | os.PathLike[str],
    waveform: NDArray[Any],
    sample_rate: int = 24_000,
) -> None:
    """Write a mono 16-bit WAV or FLAC file, which appears only when it is whole.

    Args:
        path: Ends in .wav or .flac; its folder is made when needed.
        waveform: (T,) floats in [-1, 1], of which values beyond are clipped; or int16 or int32,
            which are divided by their full scale.
        sample_rate: Hz.

    Raises:
        AudioError: Another suffix, not one channel, samples that are not finite, or of another
            type.
        OSError: The disk refused; no file is left behind.
    """
    path = Path(path)
    waveform = np.asarray(waveform)
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path}: expected a name ending in {' or '.join(FORMATS)}")
    kind = waveform.dtype.name
    # Other whole numbers have no full scale that could be known, and would all be clipped.
    if not (np.issubdtype(waveform.dtype, np.floating) or kind in FULL_SCALE):
        raise AudioError(
            f"{path}: expected float samples in [-1, 1], int16 or int32 ones, got {kind}"
        )
    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise AudioError(f"{path}: expected finite samples (T,), got shape {waveform.shape}")
    if kind in FULL_SCALE:
        waveform = waveform / FULL_SCALE[kind]
    with whole_file(path) as partial, writing(path):
        soundfile.write(
            native_path(partial),
            np.clip(waveform, -1.0, 1.0),
            sample_rate,
            subtype="PCM_16",
            format=format_of(path, len(waveform)),
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what libsndfile raises for a file that cannot be written into an OSError.

    Raises:
        OSError: The disk refused.
    """
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise OSError(f"{path}: cannot be written ({error.error_string})") from error


def format_of(path: Path, num_samples: int) -> str:
    """Return libsndfile's format for a mono 16-bit file of a suffix; long .wav files are RF64."""
    kind = FORMATS[path.suffix.lower()]
    return "RF64" if kind == "WAV" and 2 * num_samples > LARGEST_WAV else kind
