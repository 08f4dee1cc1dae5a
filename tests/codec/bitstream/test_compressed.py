"""The container of compressed codes; payloads are any bytes here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from codec.bitstream.compressed import (
    CompressedBlock,
    CompressedRecording,
    codes_checksum,
    is_compressed,
)
from codec.bitstream.format import BitstreamError, CodedRecording, StreamHeader
from codec.bitstream.salvage import salvage

HEADER = StreamHeader("0123456789abcdef", 24_000, 1024, 8192, block_codes=8)
BLOCKS = (CompressedBlock(8, 7, b"payload"), CompressedBlock(3, 9, b""))
MADE = CompressedRecording(HEADER, "fedcba9876543210", "native", BLOCKS, 11 * 1024 - 5)


def test_a_compressed_stream_comes_back_from_its_bytes() -> None:
    data = MADE.to_bytes()
    assert CompressedRecording.from_bytes(data) == MADE
    assert is_compressed(data)
    assert MADE.payload_bits == 8 * 7
    # Header, two blocks of 18 bytes beside their payloads, trailer.
    assert len(data) == 45 + 18 + 7 + 18 + 18


def test_the_level_of_a_recording_stays() -> None:
    header = StreamHeader("0123456789abcdef", 24_000, 1024, 8192, block_codes=8, level_dbfs=-31.5)
    made = CompressedRecording(header, "fedcba9876543210", "native", BLOCKS, 11 * 1024 - 5)
    assert CompressedRecording.from_bytes(made.to_bytes()).header.level_dbfs == -31.5


def test_every_changed_bit_is_found() -> None:
    data = MADE.to_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(BitstreamError):
            CompressedRecording.from_bytes(bytes(changed))


@pytest.mark.parametrize("cut", [1, 18, 30, 60, 100])
def test_a_stream_that_was_cut_is_refused(cut: int) -> None:
    with pytest.raises(BitstreamError):
        CompressedRecording.from_bytes(MADE.to_bytes()[:-cut])
    with pytest.raises(BitstreamError, match="after the trailer"):
        CompressedRecording.from_bytes(MADE.to_bytes() + b"x")


def test_readers_of_plain_streams_say_how_to_restore_it(tmp_path: Path) -> None:
    data = MADE.to_bytes()
    with pytest.raises(BitstreamError, match="hh-slm decompress"):
        CodedRecording.from_bytes(data)
    with pytest.raises(BitstreamError, match="no block is sound"):
        salvage(data, HEADER)
    plain = CodedRecording(HEADER, np.zeros(1, np.uint16), 1000)
    with pytest.raises(BitstreamError, match="expected a compressed"):
        CompressedRecording.from_bytes(plain.to_bytes())
    with pytest.raises(BitstreamError, match=r"ending in \.hhc"):
        MADE.save(tmp_path / "a.bin")
    MADE.save(tmp_path / "a.hhc")
    assert CompressedRecording.load(tmp_path / "a.hhc") == MADE


def test_a_checksum_is_of_the_codes_whatever_their_type() -> None:
    codes = np.array([1, 8191, 0])
    assert codes_checksum(codes) == codes_checksum(codes.astype(np.uint16))
    assert codes_checksum(codes) != codes_checksum(codes[::-1])
