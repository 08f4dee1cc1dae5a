"""Checks of a codec on given recordings, and of `.hhc` files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from codec.error_text import reason_of
from codec.files.reading import read_file
from codec.model.hh_codec import HHCodec
from codec.streaming.long_form import (
    WINDOW,
    Read,
    decode_stream,
    encode_stream,
    recording_voice,
)

from .convert import check_stream, recording, stream_header
from .format import SUFFIX, CodedRecording
from .records import BitstreamError, StreamHeader
from .salvage import salvage

T = TypeVar("T")


@dataclass
class FileChecks:
    """Checks of one file.

    Attributes:
        duration: Of the recording, s.
        num_codes: Of the recording.
        checks: Whether each property that was checked holds.
        reason: What does not hold, in words; "" when all does.
    """

    duration: float = 0.0
    num_codes: int = 0
    checks: dict[str, bool] = field(default_factory=dict)
    reason: str = ""

    @property
    def is_sound(self) -> bool:
        """True if all checks passed."""
        return not self.reason

    def check(self, name: str, holds: bool, otherwise: str) -> None:
        """Note one check; the first that fails gives the reason."""
        self.checks[name] = holds
        if not holds and not self.reason:
            self.reason = otherwise


def verify_file(codec: HHCodec, path: Path) -> FileChecks:
    """Check a recording or a `.hhc` file; nothing about the file itself is raised.

    Of a recording: its codes are the same a second time and in a batch with another, longer
    clip (up to its first window), they come back from a stream bit for bit, they are in range,
    and the decoded recording has the length of the original. Of a stream: header, CRCs, codec.
    """
    found = FileChecks()
    # What is no stream is taken for a recording.
    check = _check_stream_file if path.suffix.lower() == SUFFIX else _check_recording
    try:
        check(codec, path, found)
    except (ValueError, OSError) as error:
        found.check("readable", False, reason_of(error, path))
    return found


def _check_recording(codec: HHCodec, path: Path, found: FileChecks) -> None:
    num_samples, read = recording(path, codec.sample_rate)
    # As `hh-codec encode` does it, windows of long recordings included.
    codes = np.concatenate(list(encode_stream(codec, read, num_samples)))
    found.duration, found.num_codes = num_samples / codec.sample_rate, len(codes)
    _compare_batched(codec, read, num_samples, found)
    # a second pass would show what depends on state or chance
    again = np.concatenate(list(encode_stream(codec, read, num_samples)))
    found.check("repeated", np.array_equal(codes, again), "a second encoding differs")
    in_range = int(codes.max()) < codec.codebook_size
    found.check("range", in_range, f"code {codes.max()} is not in the codebook")
    voice = recording_voice(codec, read, num_samples)
    stream = CodedRecording(stream_header(codec, voice=voice), codes, num_samples)
    found.check("bitstream", _survives(stream), "the codes do not come back from a stream")
    decoded = sum(map(len, decode_stream(codec, codes, num_samples, voice=voice)))
    found.check("length", decoded == num_samples, f"{num_samples} samples became {decoded}")


def _compare_batched(codec: HHCodec, read: Read, num_samples: int, found: FileChecks) -> None:
    """The clip, or its first window, alone against in a batch of two with padding."""
    count = min(num_samples, WINDOW * codec.hop_length)
    clip = torch.from_numpy(read(0, count)).to(next(codec.parameters()).device)
    # A longer batch mate, and padding that is not silence.
    batch = torch.full((2, count + codec.hop_length + 1), 0.5, device=clip.device)
    batch[1] = 0.1 * torch.sin(0.05 * torch.arange(batch.shape[1], device=clip.device))
    batch[0, :count] = clip
    alone, lengths = codec.encode(clip[None])
    together, _ = codec.encode(batch, torch.tensor([count, batch.shape[1]]))
    if codec.has_voice:
        voices = [codec.encode_voice(clip[None]), codec.encode_voice(batch, [count, len(batch[0])])]
        first = [each[0] for each in voices if each is not None]
        found.check("voice", torch.equal(*first), "the voice changes in a batch or with padding")
    # To the bit: a code that depends on its batch is another code on another machine.
    same = torch.equal(alone[0], together[0, : int(lengths[0])])
    found.check("batched", same, "the codes change in a batch or with padding")


def _survives(stream: CodedRecording) -> bool:
    back = CodedRecording.from_bytes(stream.to_bytes())
    return (
        back.header == stream.header
        and back.num_samples == stream.num_samples
        and np.array_equal(back.codes, stream.codes)
    )


def _check_stream_file(codec: HHCodec, path: Path, found: FileChecks) -> None:
    data = read_file(path)
    header = _attempt(lambda: StreamHeader.read(BytesIO(data)))
    found.check("header", header is not None, "the header is damaged, or it is no .hhc stream")
    try:
        coded = CodedRecording.from_bytes(data)
    except BitstreamError as error:
        found.check("blocks", False, f"{error}{_lost_blocks(data)}")
    else:
        found.check("blocks", True, "")
        found.duration, found.num_codes = coded.duration, len(coded.codes)
    if header is not None:
        found.check("codec", *_fits(codec, header))


def _fits(codec: HHCodec, header: StreamHeader) -> tuple[bool, str]:
    try:
        check_stream(codec, header)
    except BitstreamError as error:
        return False, str(error)
    return True, ""


def _lost_blocks(data: bytes) -> str:
    """All blocks that are lost, in words, where any can be named."""
    found = _attempt(lambda: salvage(data))
    if found is None or not found.lost:
        return ""
    return f"; lost blocks: {', '.join(map(str, found.lost))}"


def _attempt(work: Callable[[], T]) -> T | None:
    try:
        return work()
    except BitstreamError:
        return None
