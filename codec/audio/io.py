"""Reading and writing recordings: mono float32 at a stated rate, with errors that name the file."""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from codec.activity import FramePowers, measure_level
from codec.files import whole_file

from .compressed import DECODER_DELAY, Mp3Frames, flac_fault, mp3_frames, ogg_fault, with_length
from .containers import container_fault

FORMATS = {".wav": "WAV", ".flac": "FLAC"}
# Input samples on either side that soxr's very high quality filter can reach, measured: beyond
# 256 at rising rates, and 256 times the ratio at falling ones, nothing changes in float32.
FILTER_REACH = 256
BLOCK = 1 << 20
# Suffixes of the files of a folder that count as recordings.
RECORDINGS = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64")
MOST_FRAMES = 1 << 40  # ten months at 44.1 kHz; libsndfile gives 2**63 - 1 where none is stated
# Rates of recordings, Hz, from the slowest of speech to those of ultrasound. Another one comes from
# a damaged header, and would make hours of sound of a small file.
RATES = (1_000, 1_000_000)
# Samples of an MP3 that are decoded before a part of it: the bits of a frame begin up to 511 bytes,
# nine of the smallest frames, before it.
MP3_LEAD = 10 * 1152
# A WAV file counts its bytes in 32 bits; what is longer becomes RF64, its 64-bit form.
LARGEST_WAV = (1 << 32) - 1024
# Channels whose average has less than this share of their energy are out of phase, where they are
# loud enough to be more than dither (RMS, full scale = 1).
CANCELLED_SHARE = 0.01
CANCELLED_RMS = 1e-3


class AudioError(ValueError):
    """A recording that cannot be used; the message names the file and the remedy."""


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
        path: Any file that libsndfile reads (WAV, FLAC, Ogg Vorbis and Opus, MP3 ...).
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
    with _opened(path, whole=first == 0 and wanted is None) as file:
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
    with _opened(path, whole=True) as file:
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
    with _opened(Path(path), whole=whole) as file:
        return file.frames, file.samplerate


def audio_channels(path: str | os.PathLike[str]) -> int:
    """Read the number of channels from a file's header.

    Raises:
        AudioError: As `audio_info`.
    """
    with _opened(Path(path)) as file:
        return file.channels


def audio_level(path: str | os.PathLike[str]) -> tuple[float, float]:
    """Measure level and peak of a whole recording as mono, full scale = 1, in bounded memory.

    The level is the RMS; where more than half is silence, that of its speech (`codec.activity`).

    Raises:
        AudioError: As `read_audio`.
    """
    path = Path(path)
    energy, peak = 0.0, 0.0
    with _opened(path, whole=True) as file:
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


@contextmanager
def _opened(path: Path, *, whole: bool = False) -> Iterator[soundfile.SoundFile]:
    """An open recording; what libsndfile objects to, then or later, becomes an `AudioError`."""
    if not path.is_file():
        raise AudioError(f"{path}: no such audio file")
    state = path.stat()
    if state.st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes); copy it again")
    key = path, state.st_size, state.st_mtime_ns
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames > MOST_FRAMES:
                raise AudioError(
                    f"{path}: expected a length in the header, got none; write the file again, "
                    "such as by `ffmpeg -i`"
                )
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise AudioError(
                    f"{path}: expected a sample rate of {RATES[0]} to {RATES[1]} Hz in the header, "
                    f"got {file.samplerate}; export the file again"
                )
            if file.format.startswith("MP"):
                with _counted_mp3(file, key) as counted:
                    yield counted
                return
            fault = _fault(*key, file.format, file.frames, whole)
            if fault:
                raise AudioError(f"{path}: {fault}")
            yield file
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: cannot be read as audio ({error.error_string}); expected an intact file "
            "that libsndfile knows, such as WAV, FLAC or Ogg"
        ) from error


@functools.lru_cache(maxsize=4096)
def _fault(path: Path, size: int, modified: int, kind: str, num_frames: int, whole: bool) -> str:
    """The reason why header and data do not fit; once for a file as it is (size and time)."""
    if kind == "OGG":
        return ogg_fault(path)
    if kind == "FLAC":
        return flac_fault(path, num_frames, whole=whole)
    return container_fault(path, kind, num_frames)


@functools.lru_cache(maxsize=4096)
def _mp3(path: Path, size: int, modified: int) -> Mp3Frames | None:
    """The frames of an MP3; once for a file as it is (size and time)."""
    return mp3_frames(path)


@contextmanager
def _counted_mp3(
    file: soundfile.SoundFile, key: tuple[Path, int, int]
) -> Iterator[soundfile.SoundFile]:
    """An open MP3 whose length is that of its frames: libsndfile guesses it from the first."""
    path, frames = key[0], _mp3(*key)
    if frames is None:  # of another layer
        yield file
        return
    if len(frames.rates) > 1:
        rates = ", ".join(f"{rate} Hz" for rate in sorted(frames.rates))
        raise AudioError(f"{path}: expected one sample rate, got {rates}; export the file again")
    if frames.stated is not None:
        # Some encoders count the frame that states the number.
        if abs(frames.stated - frames.count) > 1:
            raise AudioError(
                f"{path}: truncated, damaged or joined: expected the {frames.stated} frames that "
                f"it states, got {frames.count}; copy or export it again"
            )
        yield file
        return
    length = frames.count * frames.samples
    if file.frames == length:
        yield file
        return
    with soundfile.SoundFile(io.BytesIO(with_length(path, frames))) as counted:
        if counted.frames not in (length, length - DECODER_DELAY):
            raise AudioError(
                f"{path}: expected {length} samples in {frames.count} frames, got "
                f"{counted.frames}; write the file again, such as by `ffmpeg -i`"
            )
        yield counted


def _read_mono(
    file: soundfile.SoundFile, path: Path, first: int, wanted: int, channel: int | None
) -> NDArray[np.float32]:
    """(wanted,) samples at the file's own rate."""
    blocks = list(_mono_blocks(file, path, first, wanted, channel))
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def _mono_blocks(
    file: soundfile.SoundFile, path: Path, first: int, wanted: int, channel: int | None = None
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


def _block(file: soundfile.SoundFile, place: int, count: int) -> NDArray[np.float32]:
    """Up to (count, channels) samples from `place` on, where the file stands."""
    if not file.format.startswith("MP"):
        return np.asarray(file.read(count, dtype="float32", always_2d=True), dtype=np.float32)
    # A frame of MP3 takes bits of those before it, which a seek does not go back to, and every
    # read of soundfile ends in one: what comes before has to be part of the same read.
    lead = min(place, MP3_LEAD)
    file.seek(place - lead)
    read = file.read(lead + count, dtype="float32", always_2d=True)
    return np.asarray(read[lead:], dtype=np.float32)


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
    with whole_file(path) as partial, writing(path):
        soundfile.write(
            partial,
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


def normalize_loudness(
    waveform: NDArray[np.float32], loudness_dbfs: float, sample_rate: int = 24_000
) -> NDArray[np.float32]:
    """Scale to an RMS level, or as near to it as a peak of 1 allows.

    Of a clip that is mostly silence it is the level of its speech (`codec.activity`).

    Args:
        waveform: (T,).
        loudness_dbfs: Wanted RMS, dB relative to a full-scale square wave.
        sample_rate: Hz.

    Returns:
        (T,) float32; silence comes back unchanged.
    """
    rms = float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64))))
    rms *= measure_level([waveform], sample_rate).ratio
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
