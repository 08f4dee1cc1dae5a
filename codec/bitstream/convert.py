"""Recordings to `.hhc` files, back, and both at once: one file, or several of equal length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from codec.audio.io import (
    FORMATS,
    AudioError,
    audio_info,
    read_audio,
    read_samples,
    resampled_length,
)
from codec.files import whole_file
from codec.model.hh_codec import HHCodec
from codec.streaming.long_form import WINDOW, Read, decode_stream, encode_stream

from .format import BitstreamError, CodedRecording, StreamHeader, StreamWriter
from .salvage import salvage


@dataclass(frozen=True)
class Pair:
    """A file and where what is made of it goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Done:
    """What was made of one file.

    Attributes:
        num_samples: of the recording at the codec's rate.
        num_codes: ceil(num_samples / hop_length).
        lost_blocks: of a salvaged stream.
        reason: why nothing was made; the other fields are then 0.
    """

    num_samples: int = 0
    num_codes: int = 0
    lost_blocks: tuple[int, ...] = ()
    reason: str | None = None


def recording(path: Path, sample_rate: int) -> tuple[int, Read]:
    """Length of a recording at a rate, and a reader of its parts.

    Raises:
        AudioError: the file is missing, empty or not audio.
    """
    frames, rate = audio_info(path)
    num_samples = resampled_length(frames, rate, sample_rate)
    if num_samples < 1:
        raise AudioError(f"{path}: expected a sample or more, got none")

    def read(first: int, count: int) -> NDArray[np.float32]:
        return read_samples(path, sample_rate, first, count)

    return num_samples, read


def stream_header(codec: HHCodec) -> StreamHeader:
    """The header of the streams of a codec."""
    sizes = codec.sample_rate, codec.hop_length, codec.codebook_size
    return StreamHeader(codec.code_fingerprint, *sizes)


def encode_recording(codec: HHCodec, pair: Pair) -> Done:
    """Write the `.hhc` file of a recording of any length, rate and number of channels.

    Raises:
        AudioError: it cannot be read.
        OSError: the disk refused.
    """
    num_samples, read = recording(pair.source, codec.sample_rate)
    with whole_file(pair.target) as partial_file, partial_file.open("wb") as file:
        writer = StreamWriter(file, stream_header(codec))
        for codes in encode_stream(codec, read, num_samples):
            writer.write(codes)
        writer.finish(num_samples)
    return Done(num_samples, writer.num_codes)


def decode_recording(codec: HHCodec, pair: Pair, *, salvaging: bool = False) -> Done:
    """Write the recording of a `.hhc` file.

    Args:
        codec: that made the codes.
        pair: `.hhc` file, and .wav or .flac file.
        salvaging: of a damaged file, decode what is sound, and repeats in place of the rest.

    Raises:
        BitstreamError: the file is damaged, or of another codec.
        OSError: the disk refused, or there is no such file.
    """
    lost: tuple[int, ...] = ()
    if salvaging:
        coded, lost = _salvaged(codec, pair.source)
    else:
        coded = CodedRecording.load(pair.source)
    check_stream(codec, coded.header)
    pieces = decode_stream(codec, coded.codes, coded.num_samples)
    write_pieces(pair.target, pieces, codec.sample_rate)
    return Done(coded.num_samples, len(coded.codes), lost)


def reconstruct_recording(codec: HHCodec, pair: Pair) -> Done:
    """Write what the codec makes of a recording, at its own length.

    Raises:
        AudioError: it cannot be read.
        OSError: the disk refused.
    """
    num_samples, read = recording(pair.source, codec.sample_rate)
    codes = np.concatenate(list(encode_stream(codec, read, num_samples)))
    write_pieces(pair.target, decode_stream(codec, codes, num_samples), codec.sample_rate)
    return Done(num_samples, len(codes))


def check_stream(codec: HHCodec, header: StreamHeader) -> None:
    """Refuse a stream that the codec cannot decode.

    Raises:
        BitstreamError: it is of another codec, or claims what is not so of this one.
    """
    header.check_codec(codec.code_fingerprints)
    for name in ("sample_rate", "hop_length", "codebook_size"):
        if getattr(header, name) != getattr(codec, name):
            raise BitstreamError(
                f"the stream says {name} {getattr(header, name)}, the codec {getattr(codec, name)}"
            )


def write_pieces(path: Path, pieces: Iterable[NDArray[np.float32]], sample_rate: int) -> None:
    """Write a mono 16-bit .wav or .flac from consecutive pieces (n,), whole or not at all.

    Raises:
        OSError: the disk refused.
    """
    with whole_file(path) as partial_file:
        try:
            with soundfile.SoundFile(
                partial_file, "w", sample_rate, 1, "PCM_16", format=FORMATS[path.suffix.lower()]
            ) as file:
                for piece in pieces:
                    file.write(np.clip(piece, -1.0, 1.0))
        except soundfile.LibsndfileError as error:
            raise OSError(f"{path}: cannot be written ({error.error_string})") from error


def _salvaged(codec: HHCodec, path: Path) -> tuple[CodedRecording, tuple[int, ...]]:
    """What is sound of a stream, and the numbers of the blocks that are not."""
    try:
        found = salvage(path.read_bytes(), stream_header(codec))
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error}", error.blocks) from error
    return found.recording, found.lost


ONE_BY_ONE = {
    "encode": encode_recording,
    "decode": decode_recording,
    "salvage": partial(decode_recording, salvaging=True),
    "reconstruct": reconstruct_recording,
}


def convert(codec: HHCodec, kind: str, pairs: Sequence[Pair]) -> list[Done]:
    """Convert files; what goes wrong with one is said in its `reason` and spares the others.

    Args:
        codec: in eval mode.
        kind: "encode", "decode", "salvage" or "reconstruct".
        pairs: of recordings with one number of codes where there are several; those no longer
            than a window are computed together.
    """
    if len(pairs) > 1 and kind != "salvage":
        together = _decode_together if kind == "decode" else partial(_encode_together, kind=kind)
        try:
            return together(codec, pairs)
        except (ValueError, OSError):
            pass  # one of them; find out which
    done = []
    for pair in pairs:
        try:
            done.append(ONE_BY_ONE[kind](codec, pair))
        except (ValueError, OSError) as error:
            done.append(Done(reason=str(error).removeprefix(f"{pair.source}: ")))
    return done


def _encode_together(codec: HHCodec, pairs: Sequence[Pair], kind: str) -> list[Done]:
    """`encode` or `reconstruct` of recordings that are no longer than a window, in one batch."""
    waveforms = [read_audio(pair.source, codec.sample_rate) for pair in pairs]
    lengths = torch.tensor([len(waveform) for waveform in waveforms])
    if int(lengths.max()) > WINDOW * codec.hop_length:
        raise ValueError(f"expected recordings of up to {WINDOW} codes")
    batch = torch.zeros(len(pairs), int(lengths.max()))
    for row, waveform in enumerate(waveforms):
        batch[row, : len(waveform)] = torch.from_numpy(waveform)
    codes, code_lengths = codec.encode(batch.to(next(codec.parameters()).device), lengths)
    all_done = [
        Done(length, count)
        for length, count in zip(lengths.tolist(), code_lengths.tolist(), strict=True)
    ]
    if kind == "encode":
        rows = codes.cpu().numpy().astype(np.uint16)
        for pair, row, done in zip(pairs, rows, all_done, strict=True):
            coded = CodedRecording(stream_header(codec), row[: done.num_codes], done.num_samples)
            coded.save(pair.target)
    else:
        _write_decoded(codec, pairs, codes, all_done)
    return all_done


def _decode_together(codec: HHCodec, pairs: Sequence[Pair]) -> list[Done]:
    """`decode` of streams that are no longer than a window, in one batch."""
    streams = [CodedRecording.load(pair.source) for pair in pairs]
    for stream in streams:
        check_stream(codec, stream.header)
    all_done = [Done(stream.num_samples, len(stream.codes)) for stream in streams]
    longest = max(done.num_codes for done in all_done)
    if longest > WINDOW:
        raise ValueError(f"expected recordings of up to {WINDOW} codes")
    codes = torch.zeros(len(streams), longest, dtype=torch.int64)
    for row, stream in enumerate(streams):
        codes[row, : len(stream.codes)] = torch.from_numpy(stream.codes.astype(np.int64))
    _write_decoded(codec, pairs, codes.to(next(codec.parameters()).device), all_done)
    return all_done


def _write_decoded(
    codec: HHCodec, pairs: Sequence[Pair], codes: torch.Tensor, all_done: Sequence[Done]
) -> None:
    """Decode rows of codes (B, L) together and write each at its own length."""
    code_lengths = torch.tensor([done.num_codes for done in all_done])
    lengths = torch.tensor([done.num_samples for done in all_done])
    decoded = codec.decode(codes, code_lengths, lengths)[0].cpu().numpy()
    for pair, row, done in zip(pairs, decoded, all_done, strict=True):
        write_pieces(pair.target, [row[: done.num_samples]], codec.sample_rate)
