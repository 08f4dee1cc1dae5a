"""Reading and writing recordings: mono float32 at a stated rate, with errors that name the file."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from codec.speech_level import FramePowers

from .loudness import loudness_gain, normalize_loudness
from .opening import RATES, AudioError, Opened, PartOfFile, opened
from .writing import FORMATS, format_of, write_audio, writing

__all__ = [
    "FORMATS",
    "RATES",
    "RECORDINGS",
    "AudioError",
    "audio_channels",
    "audio_info",
    "audio_level",
    "format_of",
    "loudness_gain",
    "normalize_loudness",
    "read_audio",
    "read_samples",
    "read_whole",
    "resampled_length",
    "write_audio",
    "writing",
]

# Input samples on either side that soxr's very high quality filter can reach, measured: beyond
# 256 at rising rates, and 256 times the ratio at falling ones, nothing changes in float32.
FILTER_REACH = 256
BLOCK = 1 << 20
# Suffixes of the files of a folder that count as recordings.
RECORDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64")
# Samples of an MP3 that are decoded before a part of it: the bits of a frame begin up to 511 bytes,
# nine of the smallest frames, before it.
MP3_LEAD = 10 * 1152
# Channels whose average has less than this share of their energy are out of phase, where they are
# loud enough to be more than dither (RMS, full scale = 1).
CANCELLED_SHARE = 0.01
CANCELLED_RMS = 1e-3


def read_audio(
    path: str | os.PathLike[str],
    sample_rate: int = 24_000,
    *,
    start: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
) -> NDArray[np.float32]:
    """Read a recording, or a part of it, as mono at `sample_rate`.

    Channels are averaged unless one is asked for; other rates are resampled with soxr (very high
    quality). A part equals the same part of the whole: enough is read around it for the
    resampling filter.

    Args:
        path: Any file that libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3 ...), a member of
            a tar, or a part of either (`codec.files.locations`).
        sample_rate: Wanted rate, Hz.
        start: First moment to read, s.
        duration: How much to read, s; None reads to the end.
        channel: Number of the one channel to read, from 0; None averages all.

    Returns:
        (T,) float32; values beyond [-1, 1] in the file are kept.

    Raises:
        AudioError: The file is missing, empty, not audio, shorter or longer than its header
            states, several files joined, of a rate beyond `RATES`, or holds samples that are not
            finite; its channels cancel each other; or there is nothing at `start`, or no such
            channel.
    """
    first = round(start * sample_rate)
    wanted = None if duration is None else round(duration * sample_rate)
    return read_samples(path, sample_rate, first, wanted, channel=channel)


def read_samples(
    path: str | os.PathLike[str],
    sample_rate: int,
    first: int = 0,
    wanted: int | None = None,
    *,
    channel: int | None = None,
) -> NDArray[np.float32]:
    """`read_audio` with the part counted in samples at `sample_rate`.

    Args:
        path: Any file that libsndfile reads.
        sample_rate: Wanted rate, Hz.
        first: First sample to read.
        wanted: How many; fewer come back where the recording ends, None reads to there.
        channel: Number of the one channel to read, from 0; None averages all.

    Raises:
        AudioError: As `read_audio`.
    """
    path = Path(path)
    if sample_rate < 1:
        raise AudioError(f"{path}: expected a sample rate of 1 Hz or more, got {sample_rate}")
    # Of a part, the framing of all the rest is not read through.
    with opened(path, whole=first == 0 and wanted is None) as file:
        if channel is not None and not 0 <= channel < file.channels:
            raise AudioError(
                f"{path}: expected a channel of its {file.channels}, from 0 on, got {channel}"
            )
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
            return _read_mono(file, path, first, wanted, channel)
        # Resampling a part gives the samples of the whole when the filter sees as much around
        # it, and when the part begins where an input and an output sample coincide.
        divisor = math.gcd(rate, sample_rate)
        down, up = rate // divisor, sample_rate // divisor
        margin = FILTER_REACH * -(-max(rate, sample_rate) // sample_rate)
        begin = max(0, first * rate // sample_rate - margin) // down * down
        end = min(file.frames, -(-(first + wanted) * rate // sample_rate) + margin)
        part = _read_mono(file, path, begin, end - begin, channel)
    resampled = soxr.resample(part, rate, sample_rate, quality="VHQ")
    skipped = first - begin // down * up
    return np.ascontiguousarray(resampled[skipped : skipped + wanted], dtype=np.float32)


def read_whole(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], int]:
    """Read all of a recording as mono at its own rate, and return that rate, Hz, too.

    Returns:
        (T,) float32, channels averaged, and the rate.

    Raises:
        AudioError: As `read_audio`.
    """
    path = Path(path)
    with opened(path, whole=True) as file:
        if file.frames < 1:
            raise AudioError(f"{path}: expected a sample or more, got none")
        return _read_mono(file, path, 0, file.frames, None), int(file.samplerate)


def audio_info(path: str | os.PathLike[str], *, whole: bool = False) -> tuple[int, int]:
    """Read the number of samples and the sample rate, Hz, from a file's header.

    Args:
        path: Any file that libsndfile reads.
        whole: Whether all of the file is going to be read: its framing then is looked through for
            other recordings joined to it, too.

    Raises:
        AudioError: The file is missing, empty or not audio, or its header does not fit its size.
    """
    with opened(Path(path), whole=whole) as file:
        return file.frames, file.samplerate


def audio_channels(path: str | os.PathLike[str]) -> int:
    """Read the number of channels from a file's header.

    Raises:
        AudioError: As `audio_info`.
    """
    with opened(Path(path)) as file:
        return file.channels


def audio_level(path: str | os.PathLike[str]) -> tuple[float, float]:
    """Measure level and peak of a whole recording as mono, full scale = 1, in bounded memory.

    The level is the RMS; where more than half is silence, that of its speech
    (`codec.speech_level`).

    Raises:
        AudioError: As `read_audio`.
    """
    path = Path(path)
    energy, peak = 0.0, 0.0
    with opened(path, whole=True) as file:
        meter = FramePowers(file.samplerate)
        for block in _mono_blocks(file, path, 0, file.frames):
            meter.push(block)
            # float32 would lose the quiet part of a long recording
            energy += float(np.square(block, dtype=np.float64).sum())
            peak = max(peak, float(np.abs(block).max()))
        return math.sqrt(energy / max(1, file.frames)) * meter.level().ratio, peak


def resampled_length(num_samples: int, rate: int, sample_rate: int) -> int:
    """Compute the length after resampling: num_samples * sample_rate / rate, halves rounded up."""
    return (2 * num_samples * sample_rate + rate) // (2 * rate)


def _read_mono(
    file: Opened, path: Path, first: int, wanted: int, channel: int | None
) -> NDArray[np.float32]:
    """(wanted,) samples at the file's own rate."""
    blocks = list(_mono_blocks(file, path, first, wanted, channel))
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _mono_blocks(
    file: Opened, path: Path, first: int, wanted: int, channel: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Samples block by block: a header may promise more than there is."""
    if first:  # some formats can be read from the start alone
        file.seek(first)
    left, energy, kept = wanted, 0.0, 0.0
    while left > 0:
        block = _block(file, first + wanted - left, min(left, BLOCK))
        if len(block) == 0:
            raise AudioError(
                f"{path}: truncated, expected {wanted} samples and got {wanted - left}; "
                "copy it again"
            )
        # (n, channels) to (n,)
        mono = block.mean(axis=1) if channel is None else np.ascontiguousarray(block[:, channel])
        bad = len(mono) - int(np.isfinite(mono).sum())
        if bad:
            raise AudioError(f"{path}: {bad} samples are NaN or infinite; export the file again")
        if channel is None and file.channels > 1:
            energy += float(np.square(block, dtype=np.float64).sum()) / file.channels
            kept += float(np.square(mono, dtype=np.float64).sum())
        yield mono
        left -= len(block)
    if energy > CANCELLED_RMS**2 * wanted and kept < CANCELLED_SHARE * energy:
        raise AudioError(
            f"{path}: its {file.channels} channels are out of phase and cancel each other: "
            f"expected an average of at least {CANCELLED_SHARE:.0%} of their energy, got "
            f"{kept / energy:.2%}; write a file of one channel"
        )


def _block(file: Opened, place: int, count: int) -> NDArray[np.float32]:
    """Up to (count, channels) samples from `place` on, where the file stands."""
    if not file.format.startswith("MP"):
        return np.asarray(file.read(count, dtype="float32", always_2d=True), dtype=np.float32)
    # A frame of MP3 takes bits of those before it, which a seek does not go back to, and every
    # read of soundfile ends in one: what comes before has to be part of the same read.
    before = file.first if isinstance(file, PartOfFile) else 0
    lead = min(before + place, MP3_LEAD)
    file.seek(place - lead)
    read = file.read(lead + count, dtype="float32", always_2d=True)
    return np.asarray(read[lead:], dtype=np.float32)
