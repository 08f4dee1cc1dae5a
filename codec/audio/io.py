"""Reading and writing recordings: mono float32 at a stated rate, with errors that name the file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from codec.files import whole_file

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
# Input samples on either side that soxr's very high quality filter can reach, measured: beyond
# 256 at rising rates, and 256 times the ratio at falling ones, nothing changes in float32.
FILTER_REACH = 256
BLOCK = 1 << 20
# Suffixes of the files of a folder that count as recordings.
RECORDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64")
MOST_FRAMES = 1 << 40  # ten months at 44.1 kHz; libsndfile gives 2**63 - 1 where none is stated


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

    Channels are averaged; other rates are resampled with soxr (very high quality). A part equals
    the same part of the whole: enough is read around it for the resampling filter.

    Args:
        path: Any file that libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3 ...).
        sample_rate: Wanted rate, Hz.
        start: First moment to read, s.
        duration: How much to read, s; None reads to the end.

    Returns:
        (T,) float32; values beyond [-1, 1] in the file are kept.

    Raises:
        AudioError: The file is missing, empty, not audio, shorter than its header says, or
            holds samples that are not finite; or there is nothing at `start`.
    """
    first = round(start * sample_rate)
    wanted = None if duration is None else round(duration * sample_rate)
    return read_samples(path, sample_rate, first, wanted)


def read_samples(
    path: str | os.PathLike[str], sample_rate: int, first: int = 0, wanted: int | None = None
) -> NDArray[np.float32]:
    """`read_audio` with the part counted in samples at `sample_rate`.

    Args:
        path: Any file that libsndfile reads.
        sample_rate: Wanted rate, Hz.
        first: First sample to read.
        wanted: How many; fewer come back where the recording ends, None reads to there.

    Raises:
        AudioError: As `read_audio`.
    """
    path = Path(path)
    if sample_rate < 1:
        raise AudioError(f"{path}: expected a sample rate of 1 Hz or more, got {sample_rate}")
    with _opened(path) as file:
        rate = file.samplerate
        total = resampled_length(file.frames, rate, sample_rate)
        left = total - first
        wanted = left if wanted is None else min(wanted, left)
        if first < 0 or wanted <= 0:
            raise AudioError(
                f"{path}: nothing to read from {first / sample_rate:g} s, it lasts "
                f"{file.frames / rate:.3f} s"
            )
        if rate == sample_rate:
            return _read_mono(file, path, first, wanted)
        # Resampling a part gives the samples of the whole when the filter sees as much around
        # it, and when the part begins where an input and an output sample coincide.
        divisor = math.gcd(rate, sample_rate)
        down, up = rate // divisor, sample_rate // divisor
        margin = FILTER_REACH * -(-max(rate, sample_rate) // sample_rate)
        begin = max(0, first * rate // sample_rate - margin) // down * down
        end = min(file.frames, -(-(first + wanted) * rate // sample_rate) + margin)
        part = _read_mono(file, path, begin, end - begin)
    resampled = soxr.resample(part, rate, sample_rate, quality="VHQ")
    skipped = first - begin // down * up
    return np.ascontiguousarray(resampled[skipped : skipped + wanted], dtype=np.float32)


def audio_info(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Read the number of samples and the sample rate, Hz, from a file's header.

    Raises:
        AudioError: The file is missing, empty or not audio.
    """
    with _opened(Path(path)) as file:
        return file.frames, file.samplerate


def audio_level(path: str | os.PathLike[str]) -> tuple[float, float]:
    """Measure RMS and peak of a whole recording as mono, full scale = 1, in bounded memory.

    Raises:
        AudioError: As `read_audio`.
    """
    path = Path(path)
    energy, peak = 0.0, 0.0
    with _opened(path) as file:
        for block in _mono_blocks(file, path, 0, file.frames):
            # float32 would lose the quiet part of a long recording
            energy += float(np.square(block, dtype=np.float64).sum())
            peak = max(peak, float(np.abs(block).max()))
        return math.sqrt(energy / max(1, file.frames)), peak


def resampled_length(num_samples: int, rate: int, sample_rate: int) -> int:
    """Compute the length after resampling: num_samples * sample_rate / rate, halves rounded up."""
    return (2 * num_samples * sample_rate + rate) // (2 * rate)


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    """An open recording; what libsndfile objects to, then or later, becomes an `AudioError`."""
    if not path.is_file():
        raise AudioError(f"{path}: no such audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes); copy it again")
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames > MOST_FRAMES:
                raise AudioError(
                    f"{path}: expected a length in the header, got none; write the file again, "
                    "such as by `ffmpeg -i`"
                )
            yield file
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: cannot be read as audio ({error.error_string}); expected an intact file "
            "that libsndfile knows, such as WAV, FLAC or Ogg"
        ) from error


def _read_mono(
    file: soundfile.SoundFile, path: Path, first: int, wanted: int
) -> NDArray[np.float32]:
    """(wanted,) samples at the file's own rate."""
    blocks = list(_mono_blocks(file, path, first, wanted))
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _mono_blocks(
    file: soundfile.SoundFile, path: Path, first: int, wanted: int
) -> Iterator[NDArray[np.float32]]:
    """Samples block by block: a header may promise more than there is."""
    file.seek(first)
    left = wanted
    while left > 0:
        block = file.read(min(left, BLOCK), dtype="float32", always_2d=True)
        if len(block) == 0:
            raise AudioError(
                f"{path}: truncated, expected {wanted} samples and got {wanted - left}; "
                "copy it again"
            )
        mono = block.mean(axis=1)  # (n, channels) to (n,)
        bad = len(mono) - int(np.isfinite(mono).sum())
        if bad:
            raise AudioError(f"{path}: {bad} samples are NaN or infinite; export the file again")
        yield mono
        left -= len(block)


def write_audio(
    path: str | os.PathLike[str], waveform: NDArray[np.floating], sample_rate: int = 24_000
) -> None:
    """Write a mono 16-bit WAV or FLAC file, which appears only when it is whole.

    Args:
        path: Ends in .wav or .flac; its folder is made when needed.
        waveform: (T,) in [-1, 1]; values beyond are clipped.
        sample_rate: Hz.

    Raises:
        AudioError: Another suffix, not one channel, or samples that are not finite.
        OSError: The disk refused; no file is left behind.
    """
    path = Path(path)
    waveform = np.asarray(waveform)
    if path.suffix.lower() not in FORMATS:
        raise AudioError(f"{path}: expected a name ending in {' or '.join(FORMATS)}")
    if waveform.ndim != 1 or not np.isfinite(waveform).all():
        raise AudioError(f"{path}: expected finite samples (T,), got shape {waveform.shape}")
    with whole_file(path) as partial:
        soundfile.write(
            partial,
            np.clip(waveform, -1.0, 1.0),
            sample_rate,
            subtype="PCM_16",
            format=FORMATS[path.suffix.lower()],
        )


def normalize_loudness(waveform: NDArray[np.float32], loudness_dbfs: float) -> NDArray[np.float32]:
    """Scale to an RMS level, or as near to it as a peak of 1 allows.

    Args:
        waveform: (T,).
        loudness_dbfs: Wanted RMS, dB relative to a full-scale square wave.

    Returns:
        (T,) float32; silence comes back unchanged.
    """
    rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    gain = loudness_gain(rms, float(np.abs(waveform).max()), loudness_dbfs)
    return waveform if gain == 1.0 else (waveform * gain).astype(np.float32)


def loudness_gain(rms: float, peak: float, loudness_dbfs: float) -> float:
    """Compute the factor that brings a recording to an RMS level, or as near as a peak of 1 allows.

    Args:
        rms: Of the recording, full scale = 1.
        peak: Of the recording, full scale = 1.
        loudness_dbfs: Wanted RMS, dB relative to a full-scale square wave.

    Returns:
        The factor; 1 for silence.
    """
    if rms < 1e-6:
        return 1.0
    return min(10.0 ** (loudness_dbfs / 20.0) / rms, 1.0 / peak)
