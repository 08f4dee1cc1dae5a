"""Reading and writing recordings: mono float32 at a stated rate, with errors that name the file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

FORMATS = {".wav": "WAV", ".flac": "FLAC"}


class AudioError(ValueError):
    """A recording that cannot be used; the message names the file and the remedy."""


def read_audio(
    path: str | os.PathLike[str],
    sample_rate: int = 24_000,
    *,
    start: float = 0.0,
    duration: float | None = None,
) -> NDArray[np.float32]:
    """Read a recording, or a part of it, as mono at `sample_rate`.

    Channels are averaged; other rates are resampled with soxr (very high quality).

    Args:
        path: any file that libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3 ...).
        sample_rate: wanted rate, Hz.
        start: first moment to read, s.
        duration: how much to read, s; None reads to the end.

    Returns:
        (T,) float32; values beyond [-1, 1] in the file are kept.

    Raises:
        AudioError: the file is missing, empty, not audio, shorter than its header says, or
            holds samples that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise AudioError(f"{path}: no such audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes); copy it again")
    try:
        with soundfile.SoundFile(path) as file:
            rate, total = file.samplerate, file.frames
            first = round(start * rate)
            wanted = (
                total - first if duration is None else min(round(duration * rate), total - first)
            )
            if wanted <= 0:
                raise AudioError(
                    f"{path}: nothing to read from {start} s, it lasts {total / rate:.3f} s"
                )
            file.seek(first)
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: cannot be read as audio ({error.error_string}); expected an intact file "
            "that libsndfile knows, such as WAV, FLAC or Ogg"
        ) from error
    if len(samples) < wanted:
        raise AudioError(
            f"{path}: truncated, expected {wanted} samples and got {len(samples)}; copy it again"
        )
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        bad = int((~np.isfinite(mono)).sum())
        raise AudioError(f"{path}: {bad} samples are NaN or infinite; export the file again")
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="VHQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def write_audio(
    path: str | os.PathLike[str], waveform: NDArray[np.floating], sample_rate: int = 24_000
) -> None:
    """Write a mono 16-bit WAV or FLAC file, which appears only when it is whole.

    Args:
        path: ends in .wav or .flac; its folder is made when needed.
        waveform: (T,) in [-1, 1]; values beyond are clipped.
        sample_rate: Hz.

    Raises:
        AudioError: another suffix, not one channel, or samples that are not finite.
        OSError: the disk refused; no file is left behind.
    """
    path = Path(path)
    waveform = np.asarray(waveform)
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path}: expected a name ending in {' or '.join(FORMATS)}")
    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise AudioError(f"{path}: expected finite samples (T,), got shape {waveform.shape}")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        soundfile.write(
            temporary,
            np.clip(waveform, -1.0, 1.0),
            sample_rate,
            subtype="PCM_16",
            format=FORMATS[path.suffix.lower()],
        )
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def normalize_loudness(waveform: NDArray[np.float32], loudness_dbfs: float) -> NDArray[np.float32]:
    """Scale to an RMS level, or as near to it as a peak of 1 allows.

    Args:
        waveform: (T,).
        loudness_dbfs: wanted RMS, dB relative to a full-scale square wave.

    Returns:
        (T,) float32; silence comes back unchanged.
    """
    rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    peak = float(np.abs(waveform).max())
    if rms < 1e-6:
        return waveform
    gain = min(10.0 ** (loudness_dbfs / 20.0) / rms, 1.0 / peak)
    return (waveform * gain).astype(np.float32)
