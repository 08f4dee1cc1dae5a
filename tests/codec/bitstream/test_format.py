import os
import struct
import tracemalloc
import zlib
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest

from codec.bitstream.format import (
    BitstreamError,
    CodedRecording,
    StreamHeader,
    StreamReader,
    StreamWriter,
    stated_level,
)
from codec.bitstream.packing import pack_codes, unpack_codes
from codec.bitstream.salvage import salvage

HEADER = StreamHeader("0123456789abcdef", 24_000, 1024, 8192, block_codes=8)


def coded(num_codes: int = 29, header: StreamHeader = HEADER, seed: int = 0) -> CodedRecording:
    codes = np.random.default_rng(seed).integers(0, header.codebook_size, num_codes)
    return CodedRecording(header, codes.astype(np.uint16), num_codes * header.hop_length - 500)


def test_codes_are_packed_from_the_lowest_bit_without_gaps():
    assert pack_codes(np.array([0b101, 0b011, 0b111]), 3) == bytes([0b11011101, 0b1])
    codes = np.arange(0, 8192, 7)
    packed = pack_codes(codes, 13)
    assert len(packed) == -(-len(codes) * 13 // 8)
    assert unpack_codes(packed, len(codes), 13).tolist() == codes.tolist()


@pytest.mark.parametrize("size", [2, 64, 1000, 8192, 65_536])
@pytest.mark.parametrize("num_codes", [1, 7, 8, 9, 64])
def test_a_recording_comes_back_from_its_stream(size, num_codes):
    written = coded(num_codes, replace(HEADER, codebook_size=size))
    read = CodedRecording.from_bytes(written.to_bytes())
    assert read.header == written.header
    assert read.num_samples == written.num_samples
    assert read.codes.dtype == np.uint16
    assert read.codes.tolist() == written.codes.tolist()


def test_an_hour_takes_the_bytes_that_the_format_says():
    header = replace(HEADER, block_codes=512)
    codes = np.zeros(84_375, dtype=np.uint16)
    assert len(CodedRecording(header, codes, 3600 * 24_000).to_bytes()) == 138_814


def test_the_layout_is_the_documented_one():
    data = coded(3).to_bytes()
    head = struct.unpack("<8sBBHIII8sI", data[:36])
    assert head[:7] == (b"\x89HHC\r\n\x1a\n", 1, 0, 8, 8192, 24_000, 1024)
    assert head[7].hex() == "0123456789abcdef"
    assert head[8] == zlib.crc32(data[:32])
    assert struct.unpack("<IH", data[36:42]) == (0, 3)
    assert struct.unpack("<I", data[47:51])[0] == zlib.crc32(data[36:47])
    assert struct.unpack("<IHQI", data[51:]) == (2**32 - 1, 0, 2572, zlib.crc32(data[51:65]))


def changed_header(data: bytes, place: int, value: int) -> bytes:
    """A stream with one byte of its header changed under a checksum that holds."""
    header = data[:place] + bytes([value]) + data[place + 1 : 32]
    return header + struct.pack("<I", zlib.crc32(header)) + data[36:]


@pytest.mark.parametrize(
    ("level", "byte"), [(-120.0, 1), (-23.0, 195), (-22.5, 196), (0.0, 241), (7.0, 255)]
)
def test_the_level_stands_in_a_header_of_version_2(level, byte):
    header = replace(HEADER, level_dbfs=level)
    data = coded(8, header).to_bytes()
    assert data[8:10] == bytes([2, byte])
    assert CodedRecording.from_bytes(data).header == header
    # Nothing else differs, and without a level the bytes are those of before.
    without = coded(8).to_bytes()
    assert without[8:10] == bytes([1, 0])
    assert (data[:8], data[10:32], data[36:]) == (without[:8], without[10:32], without[36:])


@pytest.mark.parametrize(
    ("measured", "stated"), [(-23.24, -23.0), (-23.26, -23.5), (-300.0, -120.0), (12.0, 7.0)]
)
def test_a_level_is_stated_to_half_a_db(measured, stated):
    assert stated_level(measured) == stated


def test_a_stream_is_written_and_read_as_it_goes():
    written, file = coded(29), BytesIO()
    writer = StreamWriter(file, HEADER)
    sizes = []
    for start, stop in ((0, 1), (1, 9), (9, 9), (9, 29)):
        writer.write(written.codes[start:stop])
        sizes.append(len(file.getvalue()))
    assert sizes == [36, 59, 59, 105]
    writer.finish(written.num_samples)
    assert file.getvalue() == written.to_bytes()
    reader = StreamReader(BytesIO(file.getvalue()))
    blocks = reader.blocks()
    assert next(blocks).tolist() == written.codes[:8].tolist()
    assert reader.num_samples is None
    assert [len(block) for block in blocks] == [8, 8, 5]
    assert reader.num_samples == written.num_samples


def test_every_flipped_bit_is_found():
    data = coded(20).to_bytes()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            CodedRecording.from_bytes(bytes(changed))


def test_a_damaged_block_is_named():
    data = bytearray(coded(29).to_bytes())
    data[36 + 2 * 23 + 8] ^= 4
    with pytest.raises(BitstreamError, match="block 2 is damaged") as caught:
        CodedRecording.from_bytes(bytes(data))
    assert caught.value.blocks == (2,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"RIFF" + data[4:], r"no \.hhc stream"),
        (lambda data: b"", r"no \.hhc stream"),
        (lambda data: data[:8] + b"\x06" + data[9:], r"version 1, 2 or 4 of \.hhc, got 6"),
        (lambda data: changed_header(data, 8, 2), r"level byte 1\.\.255, got 0"),
        (lambda data: changed_header(data, 9, 7), "reserved byte 0, got 7"),
        (lambda data: data[:8] + b"\x03" + data[9:], "restore it by hh-slm decompress"),
        (lambda data: data[:30], "header is damaged"),
        (lambda data: data[:-18], "block 4 is damaged or missing"),
        (lambda data: data[:-1], "trailer after block 3"),
        (lambda data: data + b"\0", "after the trailer"),
        (lambda data: data[:36] + data[59:], "block 0"),
    ],
)
def test_what_is_wrong_with_a_stream_is_said(change, message):
    with pytest.raises(BitstreamError, match=message):
        CodedRecording.from_bytes(change(coded(29).to_bytes()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codec_fingerprint": "0123"}, "fingerprint"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"hop_length": 1 << 32}, "hop_length"),
        ({"codebook_size": 65_537}, "codebook_size"),
        ({"block_codes": 0}, "block_codes"),
        ({"level_dbfs": -120.5}, "level_dbfs"),
        ({"level_dbfs": -23.2}, "level_dbfs"),
        ({"level_dbfs": float("nan")}, "level_dbfs"),
    ],
)
def test_a_header_out_of_range_is_refused(change, message):
    with pytest.raises(BitstreamError, match=message):
        replace(HEADER, **change)


def test_codes_and_lengths_that_do_not_fit_are_refused():
    good = coded(3)
    for codes in (np.zeros(3), np.zeros((1, 3), dtype=np.int64), np.array([0, 1, 8192])):
        with pytest.raises(BitstreamError, match="codes"):
            replace(good, codes=codes).to_bytes()
    for num_samples in (0, 2048, 3073):
        with pytest.raises(BitstreamError, match="got 3"):
            replace(good, num_samples=num_samples).to_bytes()


def test_another_codec_is_refused_by_both_names():
    HEADER.check_codec(["0", "0123456789abcdef"])
    with pytest.raises(BitstreamError, match=r"0123456789abcdef.*fedcba.*encode"):
        HEADER.check_codec(["fedcba"])


def test_a_file_appears_whole_and_errors_name_it(tmp_path):
    place = tmp_path / "new" / "a.hhc"
    coded().save(place)
    assert [path.name for path in place.parent.iterdir()] == ["a.hhc"]
    assert CodedRecording.load(place).codes.tolist() == coded().codes.tolist()
    place.write_bytes(place.read_bytes()[:-3])
    with pytest.raises(BitstreamError, match=r"a\.hhc: the trailer"):
        CodedRecording.load(place)
    with pytest.raises(BitstreamError, match=r"ending in \.hhc"):
        coded().save(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        CodedRecording.load(tmp_path / "none.hhc")


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """A stream with one to three things changed in it; checksums sometimes mended."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        kind, place = int(rng.integers(6)), int(rng.integers(len(out) + 1))
        if kind == 0 and place < len(out):
            out[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del out[place:]
        elif kind == 2:
            out[place:place] = rng.bytes(int(rng.integers(1, 40)))
        elif kind == 3:
            del out[place : place + int(rng.integers(1, 60))]
        elif kind == 4 and len(out) >= 36:  # a header field, sealed again
            field = int(rng.integers(8, 32))
            out[field] = int(rng.integers(256))
            out[32:36] = struct.pack("<I", zlib.crc32(out[:32]))
        elif kind == 5 and len(out) >= 18:  # a trailer that claims anything, sealed
            claim = int(rng.integers(1, 1 << 62)) >> int(rng.integers(0, 62))
            end = struct.pack("<IHQ", 2**32 - 1, 0, claim)
            out[-18:] = end + struct.pack("<I", zlib.crc32(end))
    return bytes(out)


def test_whatever_the_bytes_there_are_codes_or_an_error_and_little_memory():
    """HH_FUZZ=100000 runs as many mutations; the suite runs 2,000."""
    rng = np.random.default_rng(int(os.environ.get("HH_FUZZ_SEED", "0")))
    wholes = [coded(n, replace(HEADER, codebook_size=s)) for n, s in ((29, 8192), (60, 50))]
    sources = [whole.to_bytes() for whole in wholes]
    outcomes = {"read": 0, "refused": 0, "salvaged": 0}
    tracemalloc.start()
    try:
        for number in range(int(os.environ.get("HH_FUZZ", "2000"))):
            data = mutated(sources[number % 2], rng)
            try:
                read = CodedRecording.from_bytes(data)
                assert read.codes.max() < read.header.codebook_size
                assert len(read.codes) == -(-read.num_samples // read.header.hop_length)
                outcomes["read"] += 1
            except BitstreamError:
                outcomes["refused"] += 1
            try:
                found = salvage(data, HEADER).recording
                assert found.codes.max() < found.header.codebook_size
                assert len(found.codes) == -(-found.num_samples // found.header.hop_length)
                outcomes["salvaged"] += 1
            except BitstreamError:
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    print(outcomes, f"peak {peak / 2**20:.1f} MiB")
    assert outcomes["refused"] > outcomes["read"]
    assert outcomes["salvaged"] > outcomes["refused"] // 4
    assert peak < 32 * 2**20
