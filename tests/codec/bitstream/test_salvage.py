import struct
import zlib

import numpy as np
import pytest

from codec.bitstream.format import BitstreamError, CodedRecording, StreamHeader
from codec.bitstream.salvage import salvage

HEADER = StreamHeader("0123456789abcdef", 24_000, 1024, 8192, block_codes=8)
BLOCK = 23  # bytes of a whole block
CODES = np.random.default_rng(0).integers(0, 8192, 29).astype(np.uint16)
DATA = CodedRecording(HEADER, CODES, 29 * 1024 - 500).to_bytes()


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_a_sound_stream_is_whole():
    found = salvage(DATA)
    assert found.is_whole
    assert found.recording.codes.tolist() == CODES.tolist()
    assert found.recording.num_samples == 29 * 1024 - 500


@pytest.mark.parametrize(
    ("data", "lost"),
    [
        (flipped(DATA, 36 + BLOCK + 9), (1,)),
        (flipped(DATA, 36), (0,)),
        (flipped(DATA, 36 + 3 * BLOCK + 9), (3,)),
        (DATA[: 36 + BLOCK] + DATA[36 + 2 * BLOCK :], (1,)),
        (DATA[: 36 + BLOCK + 4] + DATA[36 + BLOCK + 9 :], (1,)),
        (DATA[: 36 + BLOCK] + b"between" + DATA[36 + BLOCK :], ()),
        (flipped(flipped(DATA, 40), 36 + 2 * BLOCK), (0, 2)),
    ],
)
def test_lost_blocks_are_named_and_all_else_keeps_its_time(data, lost):
    found = salvage(data)
    assert found.lost == lost
    assert found.has_end
    assert found.recording.num_samples == 29 * 1024 - 500
    for place in range(29):
        if place // 8 not in lost:
            assert found.recording.codes[place] == CODES[place]
        elif place >= 8 * (lost[0] + 1) or lost[0] > 0:
            before = 8 * (place // 8) - 1
            assert found.recording.codes[place] == CODES[before]
        else:
            assert found.recording.codes[place] == CODES[8]


@pytest.mark.parametrize("kept", [36 + 2 * BLOCK, 36 + 3 * BLOCK - 1])
def test_of_a_cut_stream_all_before_the_cut_comes_back(kept):
    found = salvage(DATA[:kept])
    assert found.recording.codes.tolist() == CODES[:16].tolist()
    assert not found.has_end
    assert found.recording.num_samples == 16 * 1024


def test_a_damaged_header_is_replaced_by_that_of_the_codec():
    broken = flipped(DATA, 3)
    with pytest.raises(BitstreamError, match=r"no \.hhc"):
        salvage(broken)
    assert salvage(broken, HEADER).recording.codes.tolist() == CODES.tolist()


def test_nothing_sound_is_an_error():
    with pytest.raises(BitstreamError, match="no block is sound"):
        salvage(DATA[:36] + b"x" * 500)


def test_a_stream_cannot_claim_more_than_it_has_room_for():
    payload = struct.pack("<IH", 4_000_000_000, 8) + bytes(13)
    block = payload + struct.pack("<I", zlib.crc32(payload))
    found = salvage(DATA[: 36 + BLOCK] + block + DATA[36 + BLOCK :])
    assert found.recording.codes.tolist() == CODES.tolist()
    end = struct.pack("<IHQ", 2**32 - 1, 0, 1 << 60)
    found = salvage(DATA[:-18] + end + struct.pack("<I", zlib.crc32(end)))
    assert len(found.recording.codes) == 29
    assert not found.has_end


@pytest.mark.parametrize("number", [1, 63])
def test_a_small_stream_does_not_become_hours_of_sound(number):
    """48 bytes gave four million codes by the number of one block."""
    header = StreamHeader("0123456789abcdef", 24_000, 1024, 8192, block_codes=65_535)
    data = CodedRecording(header, CODES[:1], 1024).to_bytes()[:36]
    body = struct.pack("<IH", number, 1) + bytes(2)
    data += body + struct.pack("<I", zlib.crc32(body))
    with pytest.raises(BitstreamError, match="no block is sound"):
        salvage(data)


def test_a_stream_that_looks_like_blocks_everywhere_is_refused():
    header = StreamHeader("0123456789abcdef", 24_000, 1024, 8192, block_codes=65_535)
    data = CodedRecording(header, CODES, 29 * 1024).to_bytes()[:36]
    with pytest.raises(BitstreamError, match="nearly every place looks like a block"):
        salvage(data + bytes([0, 0, 0, 0, 0xFF, 0]) * (1 << 14))
