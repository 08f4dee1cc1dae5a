"""Codes packed to their bits, records that end in a checksum, and the error of both."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

CRC = struct.Struct("<I")


class BitstreamError(ValueError):
    """A `.hhc` stream that is damaged, is none, or belongs to another codec.

    Attributes:
        blocks: Numbers of the blocks that are damaged or missing, as far as they are known.
    """

    def __init__(self, message: str, blocks: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.blocks = blocks


def pack_codes(codes: NDArray[np.integer], bits: int) -> bytes:
    """(N,) codes below 2**bits to ceil(N * bits / 8) bytes."""
    # (N, bits), the lowest bit of a code first
    planes = np.asarray(codes, dtype=np.uint32)[:, None] >> np.arange(bits, dtype=np.uint32) & 1
    return np.packbits(planes.astype(np.uint8).ravel(), bitorder="little").tobytes()


def unpack_codes(data: bytes, count: int, bits: int) -> NDArray[np.uint16]:
    """Undo `pack_codes`: (count,) uint16; `data` holds at least ceil(count * bits / 8) bytes."""
    planes = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits, bitorder="little")
    # (count, bits) to (count,)
    weights = 1 << np.arange(bits, dtype=np.uint32)
    return (planes.reshape(count, bits) @ weights).astype(np.uint16)


def sealed(record: bytes) -> bytes:
    """A record and its CRC."""
    return record + CRC.pack(zlib.crc32(record))


def is_sound(record: bytes) -> bool:
    """True if a record ends in its CRC."""
    return CRC.pack(zlib.crc32(record[: -CRC.size])) == record[-CRC.size :]
