"""Records of a `.hhc` stream: codes packed to their bits in blocks that each carry a checksum.

All numbers are little-endian and unsigned; CRC is CRC-32 as in zlib.

    header   36 bytes  magic 89 48 48 43 0D 0A 1A 0A, version u8 = 1, 2 or 4,
                       level u8, codes a block u16, codebook size u32, sample rate u32 (Hz),
                       hop length u32 (samples a code), codec fingerprint (8 bytes), CRC u32
    voice              of version 4 alone: see `codec.bitstream.voice`
    block              number u32 (0, 1, 2 ...), count u16, count codes, CRC u32
    trailer  18 bytes  FF FF FF FF, 0 u16, samples of the recording u64, CRC u32

A code takes b = (codebook size - 1).bit_length() bits, 13 for 8192, the lowest first; the codes of
a block follow one another without gaps, filling every byte from its lowest bit, and the last byte
is filled up with zeros. Every block but the last holds the same number of codes. A CRC covers all
bytes of its own record before it. The number of samples stands at the end, so that a stream can be
written while the recording still runs; the number of codes is ceil(samples / hop length).

Version 2 states the level of the recording, which codes of one level have lost: level byte v in
1..255 is (v - 241) / 2 dBFS, -120 (silence) to 7. Version 1 states none, and the byte is 0; its
readers refuse version 2 by its number. Version 4 has a voice code; its level byte may be 0.

With 512 codes (21.8 s) a block, an hour of speech is 84,375 codes in 138,814 bytes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from math import isfinite
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .packing import CRC, BitstreamError, is_sound, sealed, unpack_codes
from .voice import StreamVoice, read_voice

MAGIC = b"\x89HHC\r\n\x1a\n"
VERSION = 1  # without a level
VERSION_WITH_LEVEL = 2
VERSION_COMPRESSED = 3  # `codec.bitstream.compressed`
VERSION_WITH_VOICE = 4
VERSION_COMPRESSED_WITH_VOICE = 5
COMPRESSED = VERSION_COMPRESSED, VERSION_COMPRESSED_WITH_VOICE
BLOCK_CODES = 512
END = 0xFFFFFFFF  # block number of the trailer
LOWEST_LEVEL, HIGHEST_LEVEL = -120.0, 7.0  # dBFS, in steps of a half

HEADER = struct.Struct("<8sBBHIII8s")
BLOCK = struct.Struct("<IH")
TRAILER = struct.Struct("<IHQ")


@contextmanager
def file_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name a file in the errors of what is read from it.

    Raises:
        BitstreamError: One was raised within; its message begins with the path.
    """
    try:
        yield
    except BitstreamError as error:
        raise BitstreamError(f"{path}: {error}", error.blocks) from error


@dataclass(frozen=True)
class StreamHeader:
    """Header of a stream: its codec and sizes.

    Attributes:
        codec_fingerprint: `HHCodec.code_fingerprint`, 16 hex digits; of the oldest files the whole
            codec's `fingerprint`.
        sample_rate: Of the codec, Hz.
        hop_length: Samples per code.
        codebook_size: Codes are below it, 2..65536.
        block_codes: Codes a block, 1..65535.
        level_dbfs: Level of the recording, -120 (silence) to 7 dBFS in steps of a half, as of
            `stated_level`; None where none is stated.
        voice: Voice code of the recording; None where there is none.

    Raises:
        BitstreamError: A field out of its range.
    """

    codec_fingerprint: str
    sample_rate: int
    hop_length: int
    codebook_size: int
    block_codes: int = BLOCK_CODES
    level_dbfs: float | None = None
    voice: StreamVoice | None = None

    def __post_init__(self) -> None:
        digits, level = self.codec_fingerprint, self.level_dbfs
        checks = [
            (len(digits) == 16 and set(digits) <= set("0123456789abcdef"), "codec_fingerprint"),
            (1 <= self.sample_rate < 1 << 32, "sample_rate"),
            (1 <= self.hop_length < 1 << 32, "hop_length"),
            (2 <= self.codebook_size <= 65536, "codebook_size"),
            (1 <= self.block_codes <= 65535, "block_codes"),
            (level is None or (isfinite(level) and level == stated_level(level)), "level_dbfs"),
        ]
        for holds, name in checks:
            if not holds:
                raise BitstreamError(f"stream header: {name} is {getattr(self, name)!r}")

    @property
    def code_bits(self) -> int:
        """Bits of a code."""
        return (self.codebook_size - 1).bit_length()

    def block_size(self, count: int) -> int:
        """Bytes of a block of `count` codes, from its number to its CRC."""
        return BLOCK.size + -(-count * self.code_bits // 8) + CRC.size

    @property
    def level_byte(self) -> int:
        """The level as files hold it, 1..255; 0 where none is stated."""
        if self.level_dbfs is None:
            return 0
        return 1 + round(2 * (self.level_dbfs - LOWEST_LEVEL))

    def pack(self) -> bytes:
        """Return the 36 bytes of the header, and those of the voice where there is one."""
        fingerprint = bytes.fromhex(self.codec_fingerprint)
        numbers = (self.block_codes, self.codebook_size, self.sample_rate, self.hop_length)
        level = self.level_byte
        version = VERSION_WITH_LEVEL if level else VERSION
        if self.voice is not None:
            version = VERSION_WITH_VOICE
        fixed = sealed(HEADER.pack(MAGIC, version, level, *numbers, fingerprint))
        return fixed if self.voice is None else fixed + self.voice.pack()

    @classmethod
    def unpack(cls, data: bytes) -> StreamHeader:
        """Read `pack`'s bytes.

        Raises:
            BitstreamError: They are damaged, of another format or of a newer version.
        """
        file = BytesIO(data)
        header = cls.read(file)
        if file.read(1):
            raise BitstreamError("the header is damaged")
        return header

    @classmethod
    def read(cls, file: BinaryIO) -> StreamHeader:
        """Read `pack`'s bytes from a file, which is left behind them; errors as of `unpack`."""
        fixed = file.read(HEADER.size + CRC.size)
        header = cls.unpack_fixed(fixed)
        if not has_voice(fixed):
            return header
        voice = read_voice(file)
        if voice is None:
            raise BitstreamError("the voice behind the header is damaged")
        return replace(header, voice=voice)

    @classmethod
    def unpack_fixed(cls, data: bytes) -> StreamHeader:
        """Read the first 36 bytes of `pack`, without the voice; errors as of `unpack`."""
        # From what is least to what is most specific, so that the error names the cause.
        if data[: len(MAGIC)] != MAGIC:
            got = bytes(data[: len(MAGIC)])
            raise BitstreamError(
                f"no .hhc stream: expected it to start with {MAGIC!r}, got {got!r}"
            )
        if version_of(data) in COMPRESSED:
            raise BitstreamError(
                f"the stream is compressed (version {version_of(data)} of .hhc): restore it by "
                "hh-slm decompress"
            )
        if version_of(data) not in (None, VERSION, VERSION_WITH_LEVEL, VERSION_WITH_VOICE):
            raise BitstreamError(f"expected version 1, 2 or 4 of .hhc, got {version_of(data)}")
        if len(data) != HEADER.size + CRC.size or not is_sound(data):
            raise BitstreamError("the header is damaged")
        _, version, byte, block_codes, codebook_size, sample_rate, hop_length, fingerprint = (
            HEADER.unpack_from(data)
        )
        if version == VERSION and byte:
            raise BitstreamError(f"stream header: expected reserved byte 0, got {byte}")
        if version == VERSION_WITH_LEVEL and not byte:
            raise BitstreamError("stream header: expected level byte 1..255, got 0")
        sizes = sample_rate, hop_length, codebook_size, block_codes
        return cls(fingerprint.hex(), *sizes, level_of_byte(byte))

    def check_codec(self, names: Sequence[str]) -> None:
        """Refuse decoding by another codec.

        Args:
            names: `HHCodec.code_fingerprints`.

        Raises:
            BitstreamError: Naming both fingerprints and the remedy.
        """
        if self.codec_fingerprint not in names:
            raise BitstreamError(
                f"the codes were made by codec {self.codec_fingerprint}, got codec {names[0]}; "
                "give the codec that made them, or encode the recording again"
            )


def version_of(data: bytes) -> int | None:
    """Version that the first 9 bytes of a stream state; None of none."""
    return data[len(MAGIC)] if data[: len(MAGIC)] == MAGIC and len(data) > len(MAGIC) else None


def has_voice(data: bytes) -> bool:
    """True if the first 9 bytes of a stream say that a voice follows its header."""
    return version_of(data) in (VERSION_WITH_VOICE, VERSION_COMPRESSED_WITH_VOICE)


def stated_level(level_dbfs: float) -> float:
    """Round a level to what a header can state: halves of a dB, in -120..7 dBFS."""
    return min(max(round(2 * level_dbfs) / 2, LOWEST_LEVEL), HIGHEST_LEVEL)


def level_of_byte(byte: int) -> float | None:
    """Level in dBFS that a byte of a file states; None for 0."""
    return LOWEST_LEVEL + (byte - 1) / 2 if byte else None


def unpack_block(
    record: bytes, header: StreamHeader, number: int, count: int
) -> NDArray[np.uint16] | None:
    """Decode a whole block record; None unless it is sound and the one that is expected."""
    if len(record) != header.block_size(count) or not is_sound(record):
        return None
    if BLOCK.unpack_from(record) != (number, count):
        return None
    codes = unpack_codes(record[BLOCK.size : -CRC.size], count, header.code_bits)
    return codes if int(codes.max()) < header.codebook_size else None


def unpack_trailer(record: bytes) -> int | None:
    """Read the length of the recording, samples; None unless the trailer is sound."""
    if len(record) != TRAILER.size + CRC.size or not is_sound(record):
        return None
    end, zero, num_samples = TRAILER.unpack_from(record)
    return num_samples if (end, zero) == (END, 0) and num_samples else None
