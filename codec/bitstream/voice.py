"""The voice code of a recording in a `.hhc` stream, one record behind the header.

    voice              FE FF FF FF, tokens u16, number of different tokens u32,
                       fingerprint of what made them (8 bytes), the tokens, CRC u32

Numbers are little-endian and unsigned, tokens are packed as codes are, and the CRC covers all bytes
of the record before it. Eight tokens out of 256 are a record of 30 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import numpy as np

from .packing import CRC, BitstreamError, is_sound, pack_codes, sealed, unpack_codes

MARKER = b"\xfe\xff\xff\xff"  # no block has this number
MOST_TOKENS, MOST_SIZE = 255, 65536
_START = struct.Struct("<4sHI8s")


@dataclass(frozen=True)
class StreamVoice:
    """Voice code of a recording.

    Attributes:
        tokens: Of `HHCodec.encode_voice`, 1 to 255 of them.
        size: Number of different tokens, 2..65536.
        fingerprint: `HHCodec.voice_fingerprint`, 16 hex digits.

    Raises:
        BitstreamError: A field out of its range.
    """

    tokens: tuple[int, ...]
    size: int
    fingerprint: str

    def __post_init__(self) -> None:
        digits, count = self.fingerprint, len(self.tokens)
        checks = [
            (2 <= self.size <= MOST_SIZE, "size", self.size),
            (1 <= count <= MOST_TOKENS, "number of tokens", count),
            (all(0 <= each < self.size for each in self.tokens), "tokens", self.tokens),
            (len(digits) == 16 and set(digits) <= set("0123456789abcdef"), "fingerprint", digits),
        ]
        for holds, name, got in checks:
            if not holds:
                raise BitstreamError(f"voice of a stream: {name} is {got!r:.80}")

    def pack(self) -> bytes:
        """Return the record."""
        fingerprint = bytes.fromhex(self.fingerprint)
        start = _START.pack(MARKER, len(self.tokens), self.size, fingerprint)
        return sealed(start + pack_codes(np.array(self.tokens), _bits(self.size)))


def read_voice(file: BinaryIO) -> StreamVoice | None:
    """Read a record, behind which the file is left; None where there is no sound one."""
    start = file.read(_START.size)
    if len(start) != _START.size:
        return None
    marker, count, size, fingerprint = _START.unpack(start)
    # They bound what is read.
    if marker != MARKER or not 1 <= count <= MOST_TOKENS or not 2 <= size <= MOST_SIZE:
        return None
    num_bytes = -(-count * _bits(size) // 8)
    record = start + file.read(num_bytes + CRC.size)
    if len(record) != _START.size + num_bytes + CRC.size or not is_sound(record):
        return None
    tokens = unpack_codes(record[_START.size : -CRC.size], count, _bits(size))
    if int(tokens.max()) >= size:
        return None
    return StreamVoice(tuple(tokens.tolist()), size, fingerprint.hex())


def find_voice(data: bytes) -> StreamVoice | None:
    """Find the first sound record anywhere in a damaged stream."""
    place = data.find(MARKER)
    while place >= 0:
        # No record is longer than its most tokens of 16 bits.
        longest = _START.size + 2 * MOST_TOKENS + CRC.size
        found = read_voice(BytesIO(data[place : place + longest]))
        if found is not None:
            return found
        place = data.find(MARKER, place + 1)
    return None


def check_voice(voice: StreamVoice | None, tokens: int, size: int, fingerprint: str | None) -> None:
    """Refuse the voice of a stream that is none of a codec's.

    Args:
        voice: Of the stream.
        tokens: Of the codec; 0 for one without a voice code.
        size: Number of its different tokens.
        fingerprint: Its `voice_fingerprint`.

    Raises:
        BitstreamError: The codec has none, needs one, or has another.
    """
    if not tokens:
        if voice is not None:
            raise BitstreamError(
                f"expected a stream without a voice code, got one with {len(voice.tokens)} tokens"
            )
        return
    if voice is None:
        raise BitstreamError(
            f"expected a stream with a voice code of {tokens} tokens, got none; "
            "hh-codec decode --voice FILE takes that of another file"
        )
    if voice.fingerprint != fingerprint:
        raise BitstreamError(
            f"expected a voice code of {fingerprint}, got one of {voice.fingerprint}"
        )
    got = len(voice.tokens), voice.size
    if got != (tokens, size):
        raise BitstreamError(f"expected {tokens} voice tokens out of {size}, got {got}")


def stream_voice(
    tokens: Sequence[int] | None, size: int, fingerprint: str | None
) -> StreamVoice | None:
    """Make the voice of a stream of a codec's tokens (K,), None of none."""
    if tokens is None or fingerprint is None:
        return None
    return StreamVoice(tuple(int(each) for each in tokens), size, fingerprint)


def _bits(size: int) -> int:
    """Bits of a token."""
    return (size - 1).bit_length()
