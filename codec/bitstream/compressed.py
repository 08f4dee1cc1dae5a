"""Compressed `.hhc` files: codes in the bits that a language model leaves of them.

The file of version 3 holds what one of versions 1 and 2 does (`codec.bitstream.format`), its codes
as arithmetic-coded payloads. Numbers are little-endian and unsigned; CRC is CRC-32 as in zlib.

    header   45 bytes  as version 1 up to the codec's fingerprint, with version u8 = 3 and an engine
                       u8 (1 torch, 2 native) in the reserved byte; fingerprint of the language
                       model (8 bytes), level byte of version 2 or 0, CRC u32
    block              number u32 (0, 1, 2 ...), count u16, bytes of the payload u32, CRC u32 of the
                       codes as u16, payload, CRC u32
    trailer  18 bytes  as version 1

Version 5 is the same with a voice behind the header (`codec.bitstream.voice`).

Layout and checksums are known here; what made the payloads, and reads them, is named in the header.
The CRC of the codes tells a decoder on another kind of machine that its probabilities differ.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from codec.files.reading import read_file

from .format import write_stream
from .records import (
    COMPRESSED,
    CRC,
    END,
    HEADER,
    MAGIC,
    TRAILER,
    VERSION_COMPRESSED,
    VERSION_COMPRESSED_WITH_VOICE,
    BitstreamError,
    StreamHeader,
    file_named,
    has_voice,
    is_sound,
    level_of_byte,
    sealed,
    version_of,
)
from .voice import read_voice

ENGINES = {"torch": 1, "native": 2}
FINGERPRINT_BYTES = 8

# Number, codes, bytes of payload, checksum of the codes.
_BLOCK = struct.Struct("<IHII")
_HEADER_SIZE = HEADER.size + FINGERPRINT_BYTES + 1 + CRC.size


@dataclass(frozen=True)
class CompressedBlock:
    """Some codes of a recording.

    Attributes:
        count: Codes in it.
        checksum: `codes_checksum` of them.
        payload: Their arithmetic code.
    """

    count: int
    checksum: int
    payload: bytes


@dataclass(frozen=True)
class CompressedRecording:
    """A compressed stream, all in memory.

    Attributes:
        header: Of the stream it was made from, to be made again.
        model_fingerprint: Of the language model, 16 hex digits.
        engine: Of its probabilities, a key of `ENGINES`.
        blocks: In order.
        num_samples: Of the recording, at `header.sample_rate`.
    """

    header: StreamHeader
    model_fingerprint: str
    engine: str
    blocks: tuple[CompressedBlock, ...]
    num_samples: int

    @property
    def payload_bits(self) -> int:
        """Bits of the codes alone, without headers and checksums."""
        return 8 * sum(len(block.payload) for block in self.blocks)

    def to_bytes(self) -> bytes:
        """Return the whole file."""
        header = self.header
        fields = (header.block_codes, header.codebook_size, header.sample_rate, header.hop_length)
        made_by = bytes.fromhex(header.codec_fingerprint)
        # The byte of the level holds the engine; the level comes behind the model.
        version = VERSION_COMPRESSED if header.voice is None else VERSION_COMPRESSED_WITH_VOICE
        packed = HEADER.pack(MAGIC, version, ENGINES[self.engine], *fields, made_by)
        model = bytes.fromhex(self.model_fingerprint)
        parts = [sealed(packed + model + bytes([header.level_byte]))]
        parts += [] if header.voice is None else [header.voice.pack()]
        for number, block in enumerate(self.blocks):
            start = _BLOCK.pack(number, block.count, len(block.payload), block.checksum)
            parts.append(sealed(start + block.payload))
        parts.append(sealed(TRAILER.pack(END, 0, self.num_samples)))
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> CompressedRecording:
        """Read a whole file.

        Raises:
            BitstreamError: It is damaged, none, or not compressed.
        """
        if not is_compressed(data):
            raise BitstreamError(
                "expected a compressed .hhc stream (version 3 or 5), got another one"
            )
        file = BytesIO(data)
        packed = file.read(_HEADER_SIZE)
        _check(packed, _HEADER_SIZE, "the header is damaged")
        _, _, engine, *fields, made_by = HEADER.unpack_from(packed)
        names = {number: name for name, number in ENGINES.items()}
        if engine not in names:
            raise BitstreamError(f"expected an engine of {names}, got {engine}")
        block_codes, codebook_size, sample_rate, hop_length = fields
        level = level_of_byte(packed[HEADER.size + FINGERPRINT_BYTES])
        sizes = sample_rate, hop_length, codebook_size, block_codes
        voice = read_voice(file) if has_voice(data) else None
        if has_voice(data) and voice is None:
            raise BitstreamError("the voice behind the header is damaged")
        header = StreamHeader(made_by.hex(), *sizes, level, voice)
        blocks, num_samples = _read_blocks(file, header)
        model = packed[HEADER.size : HEADER.size + FINGERPRINT_BYTES].hex()
        return cls(header, model, names[engine], tuple(blocks), num_samples)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.hhc` file, which appears only when it is whole.

        Raises:
            BitstreamError: Another suffix.
            OSError: The disk refused; no file is left behind.
        """
        write_stream(path, self.to_bytes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CompressedRecording:
        """Read a compressed file.

        Raises:
            BitstreamError: It is damaged or not compressed; the message names the file.
            OSError: It is missing or cannot be opened.
        """
        with file_named(path):
            return cls.from_bytes(read_file(path))


def is_compressed(data: bytes) -> bool:
    """Tell whether a file begins as a compressed one, by its first 9 bytes."""
    return version_of(data) in COMPRESSED


def codes_checksum(codes: NDArray[np.integer]) -> int:
    """CRC-32 of codes (N,) as little-endian 16-bit numbers."""
    return zlib.crc32(np.asarray(codes).astype("<u2").tobytes())


def _read_blocks(file: BytesIO, header: StreamHeader) -> tuple[list[CompressedBlock], int]:
    """Read the blocks and the samples of the trailer, and hold their counts together."""
    blocks: list[CompressedBlock] = []
    while True:
        place, number = file.tell(), len(blocks)
        start = file.read(_BLOCK.size)
        if start[:6] == TRAILER.pack(END, 0, 0)[:6]:
            file.seek(place)
            break
        if len(start) < _BLOCK.size or _BLOCK.unpack(start)[0] != number:
            raise _damaged(number)
        _, count, size, checksum = _BLOCK.unpack(start)
        record = start + file.read(size + CRC.size)
        # All blocks but the last are full.
        is_after_short = bool(blocks) and blocks[-1].count < header.block_codes
        if not 1 <= count <= header.block_codes or is_after_short:
            raise _damaged(number)
        if len(record) != _BLOCK.size + size + CRC.size or not is_sound(record):
            raise _damaged(number)
        blocks.append(CompressedBlock(count, checksum, record[_BLOCK.size : -CRC.size]))
    trailer = file.read(TRAILER.size + CRC.size)
    _check(trailer, TRAILER.size + CRC.size, "the trailer is damaged")
    num_samples = TRAILER.unpack_from(trailer)[2]
    codes = sum(block.count for block in blocks)
    expected = -(-num_samples // header.hop_length)
    if codes != expected or not codes:
        raise BitstreamError(f"expected {expected} codes for {num_samples} samples, got {codes}")
    if file.read(1):
        raise BitstreamError("there are bytes after the trailer")
    return blocks, num_samples


def _check(record: bytes, size: int, message: str) -> None:
    if len(record) != size or not is_sound(record):
        raise BitstreamError(message)


def _damaged(number: int) -> BitstreamError:
    return BitstreamError(f"block {number} is damaged or missing", (number,))
