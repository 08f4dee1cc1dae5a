"""Opening of recordings: headers that fit their files, and errors that name the file."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import soundfile

from codec.tar_members import TarMemberError, file_of, is_member, opened_bytes

from .compressed import DECODER_DELAY, Mp3Frames, flac_fault, mp3_frames, ogg_fault, with_length
from .containers import container_fault

MOST_FRAMES = 1 << 40  # ten months at 44.1 kHz; libsndfile gives 2**63 - 1 where none is stated
# Rates of recordings, Hz, from the slowest of speech to those of ultrasound. Another one comes from
# a damaged header, and would make hours of sound of a small file.
RATES = (1_000, 1_000_000)


class AudioError(ValueError):
    """A recording that cannot be used; the message names the file and the remedy."""


@contextmanager
def opened(path: Path, *, whole: bool = False) -> Iterator[soundfile.SoundFile]:
    """An open recording; what libsndfile objects to, then or later, becomes an `AudioError`.

    Args:
        path: Of a file, or of a member of a tar (`codec.tar_members`).
        whole: Whether all of it is going to be read.
    """
    if not file_of(path).is_file():
        raise AudioError(f"{path}: no such audio file")
    state = file_of(path).stat()
    key = path, state.st_size, state.st_mtime_ns
    try:
        with _source(path) as source, soundfile.SoundFile(source) as file:
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
    except TarMemberError as error:
        raise AudioError(str(error)) from error
    except soundfile.LibsndfileError as error:
        raise AudioError(
            f"{path}: cannot be read as audio ({error.error_string}); expected an intact file "
            "that libsndfile knows, such as WAV, FLAC or Ogg"
        ) from error


@contextmanager
def _source(path: Path) -> Iterator[Path | IO[bytes]]:
    """What libsndfile opens: the path of a file, or a member of a tar that is open."""
    with opened_bytes(path) as file:
        if file.seek(0, os.SEEK_END) == 0:
            raise AudioError(f"{path}: the file is empty (0 bytes); copy it again")
        file.seek(0)
        yield file if is_member(path) else path


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
