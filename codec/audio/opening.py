"""Opening of recordings: headers that fit their files, and errors that name the file."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import soundfile

from codec.error_text import reason_of
from codec.files.locations import Part, TarMemberError, file_of, is_member, opened_bytes, split_part

from .compressed import DECODER_DELAY, Mp3Frames, flac_fault, mp3_frames, ogg_fault, with_length
from .containers import container_fault

MOST_FRAMES = 1 << 40  # ten months at 44.1 kHz; libsndfile gives 2**63 - 1 where none is stated
# Rates of recordings, Hz, from the slowest of speech to those of ultrasound. Another one comes from
# a damaged header, and would make hours of sound of a small file.
RATES = (1_000, 1_000_000)
# A part may end this much after its recording, s; times of segments are rounded.
END_TOLERANCE = 0.1


class AudioError(ValueError):
    """A recording that cannot be used; the message names the file and the remedy."""


class PartOfFile:
    """A part of an open recording, with all of its channels or one, read as if it were all of it.

    Args:
        file: The recording.
        path: Location of the part, for messages.
        part: Of the recording.

    Attributes:
        first: Its first sample in the recording.
        frames: Samples a channel.
        samplerate: Hz.
        channels: Number of channels.
        format: As libsndfile names it.

    Raises:
        AudioError: The recording has no such part or channel.
    """

    def __init__(self, file: soundfile.SoundFile, path: Path, part: Part) -> None:
        rate, total = file.samplerate, file.frames
        # Seconds to samples; an end past the recording's by rounding is cut off there.
        ends = part.start * rate, total if part.end is None else part.end * rate
        first, last = (round(min(each, 2 * MOST_FRAMES)) for each in ends)
        if not first < last <= total + END_TOLERANCE * rate or first >= total:
            raise AudioError(
                f"{path}: expected a part of its {total / rate:.3f} s, got {part.start:g} s to "
                f"{'its end' if part.end is None else f'{part.end:g} s'}"
            )
        if part.channel is not None and part.channel >= file.channels:
            raise AudioError(
                f"{path}: expected a channel of its {file.channels}, from 0 on, got {part.channel}"
            )
        self._file, self._channel = file, part.channel
        self.first, self.frames = first, min(last, total) - first
        self.samplerate, self.format = rate, file.format
        self.channels = file.channels if part.channel is None else 1
        if first:  # some formats can be read from the start alone
            self.seek(0)

    def seek(self, place: int) -> None:
        """Go to a sample, counted from the part's first; it may lie before it."""
        self._file.seek(self.first + place)

    def read(self, count: int, *, dtype: Literal["float32"], always_2d: bool) -> Any:
        """Read (count, channels) float32 samples from where the file stands."""
        block = self._file.read(count, dtype=dtype, always_2d=always_2d)
        return block if self._channel is None else block[:, [self._channel]]


Opened = soundfile.SoundFile | PartOfFile

_EMPTY = "{}: the file is empty (0 bytes); copy it again"


@contextmanager
def opened(path: Path, *, whole: bool = False) -> Iterator[Opened]:
    """An open recording; what libsndfile objects to, then or later, becomes an `AudioError`.

    Args:
        path: Of a file, of a member of a tar, or of a part of either (`codec.files.locations`).
        whole: Whether all of it is going to be read.
    """
    recording, part = split_part(path)
    # Around a stretch, the framing of the recording is not read through.
    is_all = part is None or (part.start, part.end) == (0.0, None)
    with _recording(recording, whole and is_all) as file:
        yield file if part is None else PartOfFile(file, path, part)


@contextmanager
def _recording(path: Path, whole: bool) -> Iterator[soundfile.SoundFile]:
    """An open recording from its start to its end."""
    if not file_of(path).is_file():
        raise AudioError(f"{path}: no such audio file")
    state = file_of(path).stat()
    if state.st_size == 0:
        raise AudioError(_EMPTY.format(path))
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
            "that libsndfile reads, such as WAV, FLAC or Ogg"
        ) from error


def native_path(path: Path) -> Any:  # soundfile takes bytes, of which its annotations know nothing
    """Give a path as libsndfile opens it: names of POSIX are bytes, which need not be UTF-8."""
    return os.fsencode(path) if os.name == "posix" else str(path)


@contextmanager
def _source(path: Path) -> Iterator[Any]:
    """Give libsndfile what it opens: a path, or a member of a tar as an open binary file."""
    if not is_member(path):
        yield native_path(path)
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(opened_bytes(path))
        except OSError as error:
            raise AudioError(f"{path}: cannot be opened ({reason_of(error, path)})") from error
        if file.seek(0, os.SEEK_END) == 0:
            raise AudioError(_EMPTY.format(path))
        file.seek(0)
        yield file


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
