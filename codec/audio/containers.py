"""Consistency of audio containers: the length that a header states against the data that is there.

libsndfile takes the smaller of the two, or a guess, without an error: what a copy has lost, or
what follows the stated end, would be missing in silence.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import IO

from codec.files.locations import opened_bytes

# Lengths that programs write that cannot go back to the header of a stream; the data then reaches
# to the end of the file. The values vary by the size of the header.
_STREAMED = (1 << 31, 1 << 32)
_STREAMED_SLACK = 1 << 16
# Zero bytes behind the last chunk that a disk or a recorder may leave.
_PADDING = 4096
# WAV's numbers of formats whose samples all take the same bytes.
_PLAIN = (1, 3, 6, 7, 0xFFFE)
# First bytes of files, and names of chunks that tell about the sound.
_HEADS = (b"RIFF", b"RF64", b"RIFX", b"FORM", b".snd", b"riff")
_ABOUT = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"smpl", b"PEAK", b"fact", b"JUNK")
_COPY = "copy it again"
_EXPORT = "export it again"


def container_fault(path: Path, kind: str, num_frames: int) -> str:
    """Find the reason why a recording's header and data do not belong together.

    Args:
        path: Of the file.
        kind: Format as libsndfile names it, such as "WAV"; those without a rule here pass.
        num_frames: Samples a channel that libsndfile would read.

    Returns:
        The reason, with expected and got; '' where there is none.
    """
    with opened_bytes(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if kind in ("WAV", "WAVEX", "RF64"):
            return _riff_fault(file, size, num_frames)
        if kind == "W64":
            return _w64_fault(file, size)
        if kind == "AIFF":
            return _aiff_fault(file, size, num_frames)
        if kind == "AU":
            return _au_fault(file, size)
    return ""


def _riff_fault(file: IO[bytes], size: int, num_frames: int) -> str:
    """The fault of a WAV or RF64 file."""
    order = ">" if file.read(4) == b"RIFX" else "<"
    long_data, align, tag, found = None, 0, 0, False
    place = 12
    while place + 8 <= size:
        file.seek(place)
        name, stated = struct.unpack(f"{order}4sI", file.read(8))
        left = size - place - 8
        if not _is_name(name) or (found and (name in _HEADS or stated > left)):
            break
        if name == b"ds64":
            long_data = struct.unpack("<QQ", file.read(16))[1]
        elif name == b"fmt ":
            fields = struct.unpack(f"{order}HHIIHH", file.read(16))
            tag, align = fields[0], fields[4]
        elif name == b"data":
            if found:
                return f"expected one data chunk, got a second at byte {place}; {_EXPORT}"
            found = True
            if long_data is not None and stated == 0xFFFFFFFF:
                stated = long_data
            elif _is_streamed(stated, left):
                stated = left
            fault = _data_fault(stated, left, align if tag in _PLAIN else 0, num_frames)
            if fault:
                return fault
        place += 8 + stated + stated % 2
    return _rest_fault(file, place, size) if found else ""


def _data_fault(stated: int, left: int, align: int, num_frames: int) -> str:
    """The fault of a data chunk of plain samples of `align` bytes, 0 where they are compressed."""
    if stated // max(align, 1) > left // max(align, 1):
        return f"truncated, expected {stated} bytes of samples and got {left}; {_COPY}"
    if align and num_frames != stated // align:
        return (
            f"expected the header's {stated // align} samples, of which {num_frames} can be "
            f"read; {_EXPORT}"
        )
    return ""


def _w64_fault(file: IO[bytes], size: int) -> str:
    """The fault of a Sony Wave64 file: 16 bytes of name and 8 of length, that included."""
    place, found = 40, False
    while place + 24 <= size:
        file.seek(place)
        name, stated = struct.unpack("<16sQ", file.read(24))
        if stated < 24 or not _is_name(name[:4]) or (found and name[:4] == b"riff"):
            break
        if name[:4] == b"data":
            found = True
            if stated > size - place:
                got = size - place - 24
                return f"truncated, expected {stated - 24} bytes of samples and got {got}; {_COPY}"
        place += -(-stated // 8) * 8
    return _rest_fault(file, place, size) if found else ""


def _aiff_fault(file: IO[bytes], size: int, num_frames: int) -> str:
    """The fault of an AIFF file."""
    place, stated_frames, compressed = 12, None, False
    file.seek(8)
    kind = file.read(4)
    while place + 8 <= size:
        file.seek(place)
        name, stated = struct.unpack(">4sI", file.read(8))
        if not _is_name(name) or name == b"FORM":
            break
        if name == b"COMM":
            head = file.read(22)
            stated_frames = struct.unpack(">I", head[2:6])[0]
            plain = (b"NONE", b"sowt", b"fl32", b"FL32", b"fl64", b"twos")
            compressed = kind == b"AIFC" and head[18:22] not in plain
        if stated > size - place - 8:
            if name == b"SSND":
                got = size - place - 8
                return f"truncated, expected {stated} bytes of samples and got {got}; {_COPY}"
            break
        place += 8 + stated + stated % 2
    if stated_frames is not None and not compressed and stated_frames != num_frames:
        return (
            f"expected the header's {stated_frames} samples, of which {num_frames} can be read; "
            f"{_EXPORT}"
        )
    return _rest_fault(file, place, size)


def _au_fault(file: IO[bytes], size: int) -> str:
    """The fault of a Sun AU file."""
    magic, start, stated = struct.unpack("4sII", file.read(12))
    if magic == b".snd":
        file.seek(4)
        start, stated = struct.unpack(">II", file.read(8))
    left = size - start
    if stated == 0xFFFFFFFF:  # a stream
        return ""
    if stated > left:
        return f"truncated, expected {stated} bytes of samples and got {left}; {_COPY}"
    return _rest_fault(file, start + stated, size)


def _rest_fault(file: IO[bytes], place: int, size: int) -> str:
    """The fault of bytes from `place` on that belong to no chunk."""
    left = size - place
    if left < 8:
        return ""
    file.seek(place)
    head = file.read(min(left, _PADDING))
    # What was cut from a chunk behind the samples is no sound.
    if head[:4] in _ABOUT:
        return ""
    if (left <= _PADDING and not any(head)) or head[:3] in (b"TAG", b"ID3"):
        return ""
    what = "a second recording" if head[:4] in _HEADS else "bytes that the header does not count"
    return f"expected its end at byte {place}, got {left} more: {what}; {_EXPORT}"


def _is_name(name: bytes) -> bool:
    """True if four bytes can name a chunk."""
    return len(name) == 4 and all(32 <= each < 127 for each in name)


def _is_streamed(stated: int, left: int) -> bool:
    """True if a length stands for none."""
    return stated > left and any(abs(stated - each) <= _STREAMED_SLACK for each in _STREAMED)
