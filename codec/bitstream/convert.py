"""A recording of any length to a file of codes, back, and both at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from codec.audio.io import (
    AudioError,
    audio_info,
    format_of,
    read_samples,
    resampled_length,
    writing,
)
from codec.audio.opening import native_path
from codec.files import whole_file
from codec.files.reading import read_file
from codec.model.hh_codec import HHCodec
from codec.streaming.long_form import (
    Read,
    decode_stream,
    encode_stream,
    recording_level,
    recording_voice,
)

from .format import SUFFIX, CodedRecording, StreamWriter
from .open_formats import load_codes, save_codes
from .records import BitstreamError, StreamHeader, file_named, stated_level
from .salvage import salvage
from .voice import StreamVoice, check_voice, stream_voice


@dataclass(frozen=True)
class Pair:
    """An input file, the path of its output, and how the one becomes the other.

    Attributes:
        voice: File of codes whose voice the output gets, if any.
        search: Entries that codes are tried against, as of `HHCodec.encode`.
    """

    source: Path
    target: Path
    voice: Path | None = None
    search: int = 0


@dataclass(frozen=True)
class Converted:
    """The result of one file.

    Attributes:
        num_samples: Of the recording at the codec's rate.
        num_codes: ceil(num_samples / hop_length).
        lost_blocks: Of a salvaged stream.
        end_is_lost: Whether a salvaged stream ends before its end, by an unknown length.
        error: Why nothing was made; None for success. The other fields are then 0.
    """

    num_samples: int = 0
    num_codes: int = 0
    lost_blocks: tuple[int, ...] = ()
    end_is_lost: bool = False
    error: str | None = None


def recording(path: Path, sample_rate: int) -> tuple[int, Read]:
    """Return the length of a recording at a rate, and a reader of its parts.

    Raises:
        AudioError: The file is missing, empty or not audio.
    """
    frames, rate = audio_info(path, whole=True)
    num_samples = resampled_length(frames, rate, sample_rate)
    if num_samples < 1:
        raise AudioError(f"{path}: expected a sample or more, got none")

    def read(first: int, count: int) -> NDArray[np.float32]:
        return read_samples(path, sample_rate, first, count)

    return num_samples, read


def stream_header(
    codec: HHCodec, level_dbfs: float | None = None, voice: NDArray[np.int64] | None = None
) -> StreamHeader:
    """Build the header of a codec's streams.

    Args:
        codec: That makes the codes.
        level_dbfs: Of the recording, stated where the codec does not keep it in its codes.
        voice: (K,) tokens of the recording; None for a codec without a voice code, and where the
            header stands for what a damaged or bare file lacks.
    """
    sizes = codec.sample_rate, codec.hop_length, codec.codebook_size
    level = None
    if level_dbfs is not None and codec.config.loudness_dbfs is not None:
        level = stated_level(level_dbfs)
    tokens = None if voice is None else voice.tolist()
    own = stream_voice(tokens, codec.config.voice.size, codec.voice_fingerprint)
    return StreamHeader(codec.code_fingerprint, *sizes, level_dbfs=level, voice=own)


def encode_recording(codec: HHCodec, pair: Pair) -> Converted:
    """Write the codes of a recording of any length, rate and number of channels.

    Their form is that of the target's suffix: `.hhc`, or one of `codec.bitstream.open_formats`.

    Raises:
        AudioError: It cannot be read.
        ValueError: A codec with a voice code, and a form that holds none.
        OSError: The disk refused.
    """
    check_form(codec, pair.target)
    num_samples, read = recording(pair.source, codec.sample_rate)
    level = recording_level(codec, read, num_samples)
    header = stream_header(
        codec, level.dbfs, recording_voice(codec, read, num_samples, level=level)
    )
    pieces = encode_stream(codec, read, num_samples, level=level, search=pair.search)
    if pair.target.suffix.lower() != SUFFIX:
        codes = np.concatenate(list(pieces))
        coded = CodedRecording(header, codes, num_samples)
        save_codes(pair.target, coded)
        return Converted(num_samples, len(codes))
    # Codes go to the file as they come: a recording of any length fits the memory.
    with whole_file(pair.target) as partial_file, partial_file.open("wb") as file:
        writer = StreamWriter(file, header)
        for codes in pieces:
            writer.write(codes)
        writer.finish(num_samples)
    return Converted(num_samples, writer.num_codes)


def decode_recording(codec: HHCodec, pair: Pair, *, salvaging: bool = False) -> Converted:
    """Write the recording of a file of codes, at the level that it states.

    Args:
        codec: That made the codes.
        pair: File of codes in any form, .wav or .flac file, and the file of another voice.
        salvaging: Of a damaged file, decode what is sound, and repeats in place of the rest.

    Raises:
        BitstreamError: The file is damaged, or of another codec.
        OSError: The disk refused, or there is no such file.
    """
    lost, end_is_lost = (), False
    if salvaging:
        with file_named(pair.source):
            found = salvage(read_file(pair.source), stream_header(codec))
        coded, lost, end_is_lost = found.recording, found.lost, not found.has_end
    else:
        coded = load_codes(pair.source, stream_header(codec))
    coded = in_other_voice(codec, coded, pair.voice)
    check_stream(codec, coded.header)
    level = coded.header.level_dbfs
    voice = voice_of(coded.header)
    pieces = decode_stream(codec, coded.codes, coded.num_samples, level_dbfs=level, voice=voice)
    write_pieces(pair.target, pieces, codec.sample_rate, coded.num_samples)
    return Converted(coded.num_samples, len(coded.codes), lost, end_is_lost)


def reconstruct_recording(codec: HHCodec, pair: Pair) -> Converted:
    """Encode and decode a recording, at its own length and level: as through a `.hhc` file.

    Raises:
        AudioError: It cannot be read.
        OSError: The disk refused.
    """
    num_samples, read = recording(pair.source, codec.sample_rate)
    # codes are small enough to hold: 2 bytes for 43 ms
    level = recording_level(codec, read, num_samples)
    coded = encode_stream(codec, read, num_samples, level=level, search=pair.search)
    codes = np.concatenate(list(coded))
    voice = recording_voice(codec, read, num_samples, level=level)
    stated = stated_level(level.dbfs)
    pieces = decode_stream(codec, codes, num_samples, level_dbfs=stated, voice=voice)
    write_pieces(pair.target, pieces, codec.sample_rate, num_samples)
    return Converted(num_samples, len(codes))


def check_form(codec: HHCodec, target: Path) -> None:
    """Refuse a form of codes that cannot hold the voice code of a codec (ValueError)."""
    if target.suffix.lower() == ".npy":
        codec.config.voice.refuse(".npy, which holds codes alone")


def voice_of(header: StreamHeader) -> NDArray[np.int64] | None:
    """Tokens (K,) of a stream's voice, None where it has none."""
    return None if header.voice is None else np.array(header.voice.tokens, dtype=np.int64)


def in_other_voice(codec: HHCodec, coded: CodedRecording, path: Path | None) -> CodedRecording:
    """Give codes the voice of another file of codes, None leaves them theirs.

    Raises:
        BitstreamError: The file has none, is damaged or of another codec.
        OSError: It is missing or cannot be opened.
    """
    if path is None:
        return coded
    return replace(coded, header=replace(coded.header, voice=other_voice(codec, path)))


def other_voice(codec: HHCodec, path: Path) -> StreamVoice:
    """Read the voice of a codec from a file of codes; errors as of `in_other_voice`."""
    header = load_codes(path, stream_header(codec)).header
    with file_named(path):
        check_stream(codec, header)
        if header.voice is None:
            raise BitstreamError("expected a codec and codes with a voice code, got none")
    return header.voice


def check_stream(codec: HHCodec, header: StreamHeader) -> None:
    """Refuse a stream that the codec cannot decode.

    Raises:
        BitstreamError: It is of another codec, states other sizes, or has a voice code that is none
            of the codec's.
    """
    header.check_codec(codec.code_fingerprints)
    for name in ("sample_rate", "hop_length", "codebook_size"):
        if getattr(header, name) != getattr(codec, name):
            raise BitstreamError(
                f"expected a stream of {name} {getattr(codec, name)}, got {getattr(header, name)}"
            )
    size = codec.config.voice
    check_voice(header.voice, size.tokens, size.size, codec.voice_fingerprint)


def write_pieces(
    path: Path, pieces: Iterable[NDArray[np.float32]], sample_rate: int, num_samples: int
) -> None:
    """Write a mono 16-bit .wav or .flac from consecutive pieces (n,), whole or not at all.

    Args:
        path: Of the file.
        pieces: In [-1, 1]; values beyond are clipped.
        sample_rate: Hz.
        num_samples: Of all pieces: what is too long for WAV is written as RF64.

    Raises:
        OSError: The disk refused.
    """
    kind = format_of(path, num_samples)
    with (
        whole_file(path) as partial_file,
        writing(path),
        soundfile.SoundFile(
            native_path(partial_file), "w", sample_rate, 1, "PCM_16", format=kind
        ) as file,
    ):
        for piece in pieces:
            file.write(np.clip(piece, -1.0, 1.0))
