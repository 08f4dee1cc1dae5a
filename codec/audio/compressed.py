"""Completeness of compressed recordings: MP3, Ogg and FLAC streams read frame by frame.

Only the framing is read, not the sound. libsndfile guesses the length of an MP3 that does not
state it, takes an Ogg stream that is cut for a short one, and ends where the first of several
joined streams does.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from codec.files.locations import opened_bytes, read_bytes

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
# kbit/s of layer III by index, MPEG 1 and MPEG 2 and 2.5
_BIT_RATES = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
# Samples by which a decoder of layer III is late.
DECODER_DELAY = 529
_TAIL = 1 << 17  # bytes at the end of a FLAC file that hold its last frame
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class Mp3Frames:
    """Frames of an MP3 stream.

    Attributes:
        count: Frames that hold sound.
        samples: A frame.
        stated: Frames that the stream itself states; None where it states none.
        rates: Sample rates among them, Hz.
        start: Byte at which the first frame begins.
    """

    count: int
    samples: int
    stated: int | None
    rates: frozenset[int]
    start: int


def mp3_frames(path: Path) -> Mp3Frames | None:
    """Count the frames of an MP3 of layer III; None where there is no frame of that kind."""
    data = read_bytes(path)
    place = start = _after_id3(data, 0)
    count, samples, stated, rates, first = 0, 0, None, set(), True
    while place + 4 <= len(data):
        frame = _mp3_frame(data, place)
        # A header by chance is not followed by another one.
        if frame is None or not _goes_on(data, place + frame[0]):
            if data[place : place + 3] == b"ID3":
                place = _after_id3(data, place)
            else:
                place = data.find(b"\xff", place + 1)
                if place < 0:
                    break
            continue
        length, rate, per_frame = frame
        if place + length > len(data):  # the last frame is cut
            break
        rates.add(rate)
        samples = samples or per_frame
        tag = _info_tag(data[place : place + length]) if first else None
        if first:
            start, first = place, False
        if tag is None:
            count += 1
        else:
            stated = tag
        place += length
    if first:
        return None
    # A tag that states no number of frames leaves it open.
    return Mp3Frames(count, samples, stated if stated else None, frozenset(rates), start)


def with_length(path: Path, frames: Mp3Frames) -> bytes:
    """The bytes of an MP3 behind a frame that states their number of frames.

    The frame holds no sound. Decoders use it for the length, and leave out their own delay at the
    beginning.
    """
    data = read_bytes(path)[frames.start :]
    version = (data[1] >> 3) & 3
    # Without a CRC and padding, of a bit rate whose frames are long enough: 64 kbit/s.
    head = bytes([0xFF, data[1] | 1, (5 if version == 3 else 8) << 4 | data[2] & 0x0C, data[3]])
    frame = _mp3_frame(head, 0)
    if frame is None:
        return data
    body = head + bytes(_side_info(head)) + b"Xing" + struct.pack(">II", 1, frames.count)
    return body.ljust(frame[0], b"\0") + data


def ogg_fault(path: Path) -> str:
    """Find the reason why an Ogg file is not one whole stream; '' where it is."""
    data = read_bytes(path)
    place, serial, number, flags = 0, None, 0, 0
    while place < len(data):
        head = data[place : place + 27]
        end = place + 27 + (head[26] if len(head) == 27 else 0)
        stop = end + sum(data[place + 27 : end])
        if head[:4] != b"OggS" or len(head) < 27 or stop > len(data):
            # zeros and tags behind the end are no sound
            rest = data[place:]
            if flags & 4 and (not any(rest) or rest[:3] in (b"TAG", b"ID3")):
                return ""
            return f"truncated or damaged at byte {place} of {len(data)}; copy it again"
        flags, page_serial, page_number, checksum = _ogg_fields(head)
        page = head[:22] + bytes(4) + data[place + 26 : stop]
        if _ogg_checksum(page) != checksum:
            return f"damaged: the checksum of page {page_number} is wrong; copy it again"
        if serial is not None and page_serial != serial:
            return f"expected one stream, got another at byte {place}; split it or export it again"
        if serial is not None and page_number != number + 1:
            return f"expected page {number + 1} at byte {place}, got {page_number}; copy it again"
        serial, number, place = page_serial, page_number, stop
    return "" if flags & 4 else "truncated: its last page does not end the stream; copy it again"


def flac_fault(path: Path, num_frames: int, *, whole: bool) -> str:
    """Find the reason why a FLAC file holds more, or other, samples than its header states.

    Args:
        path: Of the file.
        num_frames: Samples a channel that the header states.
        whole: Whether to look for a second stream in all of the file, not at its end alone.
    """
    with opened_bytes(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(42)
        file.seek(0 if whole else max(0, size - _TAIL))
        data = file.read()
    if whole and data.find(b"fLaC\0\0\0\x22", 4) >= 0:
        return "expected one stream, got a second one behind it; split it or export it again"
    start = head.find(b"fLaC")
    if start < 0 or len(head) < start + 14:
        return ""
    block = struct.unpack(">H", head[start + 10 : start + 12])[0]  # largest block, samples
    end = _flac_end(data[-_TAIL:], block)
    if end is None or end == num_frames:
        return ""
    return f"expected the header's {num_frames} samples, got {end} in its frames; export it again"


def _mp3_frame(data: bytes, place: int) -> tuple[int, int, int] | None:
    """Length in bytes, sample rate and samples of the frame at a place; None where none is."""
    head = data[place : place + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # layer III
        return None
    version, kbit, rate_code = (head[1] >> 3) & 3, head[2] >> 4, (head[2] >> 2) & 3
    if version == 1 or kbit in (0, 15) or rate_code == 3:
        return None
    rate = _RATES[version][rate_code]
    per_frame = 1152 if version == 3 else 576
    bits = _BIT_RATES[version == 3][kbit] * 1000
    return per_frame // 8 * bits // rate + ((head[2] >> 1) & 1), rate, per_frame


def _goes_on(data: bytes, place: int) -> bool:
    """True if a frame, a tag or the end of the data is at a place."""
    rest = data[place : place + 4]
    tagged = rest[:3] in (b"TAG", b"ID3") or rest == b"APET"
    return place + 4 > len(data) or tagged or _mp3_frame(data, place) is not None


def _side_info(head: bytes) -> int:
    """Bytes between a frame's header and what a frame without sound may state."""
    mono = head[3] >> 6 == 3
    if (head[1] >> 3) & 3 == 3:
        return 17 if mono else 32
    return 9 if mono else 17


def _info_tag(frame: bytes) -> int | None:
    """The number of frames that a frame without sound states, 0 for none; None with sound."""
    place = 4 + _side_info(frame)
    if frame[place : place + 4] in (b"Xing", b"Info"):
        flags = struct.unpack(">I", frame[place + 4 : place + 8])[0]
        return struct.unpack(">I", frame[place + 8 : place + 12])[0] if flags & 1 else 0
    if frame[36:40] == b"VBRI":
        return struct.unpack(">I", frame[50:54])[0]
    return None


def _after_id3(data: bytes, place: int) -> int:
    """The place behind an ID3v2 tag, whose length has seven bits a byte."""
    if data[place : place + 3] != b"ID3" or place + 10 > len(data):
        return place
    length = 0
    for byte in data[place + 6 : place + 10]:
        length = length << 7 | byte & 0x7F
    return place + 10 + length


def _ogg_fields(head: bytes) -> tuple[int, int, int, int]:
    """Flags, serial number, page number and checksum of a page."""
    serial, number, checksum = struct.unpack("<III", head[14:26])
    return head[5], serial, number, checksum


def _ogg_checksum(page: bytes) -> int:
    """Ogg's CRC-32: that of zlib with the bits the other way round, from 0 and not inverted."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _flac_end(data: bytes, block: int) -> int | None:
    """The number of samples up to the end of the last frame; None where none is sound."""
    if data[-128:-125] == b"TAG":
        data = data[:-128]
    place = len(data)
    while (place := data.rfind(b"\xff", 0, place)) >= 0:
        if data[place + 1 : place + 2] not in (b"\xf8", b"\xf9"):
            continue
        end = _flac_frame_end(data, place, block)
        # By chance a header looks sound; the sum over the whole frame then is not.
        if end is not None and _crc(data[place:], 16, 0x8005) == 0:
            return end
    return None


def _flac_frame_end(data: bytes, place: int, block: int) -> int | None:
    """The sample behind the frame whose header is at a place; None where none is sound."""
    # Nothing but a header of 6 bytes and the frame's sum is sure: a silent frame has 11 to 13.
    if place + 8 > len(data):
        return None
    code, first = data[place + 2] >> 4, data[place + 4]
    # The number of the block, or of its first sample, as UTF-8 would write it.
    extra = 0 if first < 0x80 else f"{first:08b}".find("0") - 1
    if code == 0 or (first >= 0x80 and not 1 <= extra <= 6):
        return None
    number = first if extra == 0 else first & (0x3F >> extra)
    for byte in data[place + 5 : place + 5 + extra]:
        number = number << 6 | byte & 0x3F
    cursor = place + 5 + extra
    if code in (6, 7):
        count = int.from_bytes(data[cursor : cursor + code - 5], "big") + 1
        cursor += code - 5
    else:
        count = 192 if code == 1 else 576 << (code - 2) if code < 6 else 256 << (code - 8)
    rate_code = data[place + 2] & 15
    cursor += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if cursor >= len(data) or _crc(data[place : cursor + 1], 8, 0x07) != 0:
        return None
    varies = data[place + 1] & 1
    return (number if varies else number * block) + count


def _crc(data: bytes, width: int, polynomial: int) -> int:
    """A CRC of 8 or 16 bits from 0; 0 over data that ends in its own."""
    table, top, mask = [], 1 << (width - 1), (1 << width) - 1
    for byte in range(256):
        value = byte << (width - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    value = 0
    for byte in data:
        value = (value << 8 ^ table[value >> (width - 8) ^ byte]) & mask
    return value
