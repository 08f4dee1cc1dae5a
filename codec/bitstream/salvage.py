"""Recovery of a damaged `.hhc` stream, with everything that is sound at its own time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .format import CodedRecording
from .records import (
    BLOCK,
    BLOCK_CODES,
    CRC,
    END,
    HEADER,
    TRAILER,
    BitstreamError,
    StreamHeader,
    has_voice,
    unpack_block,
    unpack_trailer,
)
from .voice import find_voice

# Blocks, and codes in them, that may be lost of a stream beyond four times what is left of it:
# four blocks of the size that the codec writes, 87 s.
_SPARE_BLOCKS = 64
_SPARE_CODES = 4 * BLOCK_CODES
# Bytes that are summed in the search, for each byte of the stream: false beginnings of blocks are
# rare in damage and many in a stream that was made to keep a reader busy.
_SUMMED_BYTES = 64
Blocks = dict[int, NDArray[np.uint16]]


@dataclass(frozen=True)
class Salvage:
    """A stream with its gaps filled.

    Attributes:
        recording: Every lost block is `block_codes` repeats of the code before it (of the first
            sound code at the start), so that what follows keeps its time.
        lost: Numbers of the blocks that were damaged or missing. Where the end of the stream is
            lost, too, what was there cannot be known and is not counted.
        has_end: Whether the trailer, and with it the length in samples, was sound; without it the
            recording ends with its last sound block.
        lost_voice: Whether the stream had a voice code that is damaged or missing. It is found
            wherever it lies, also without the header.
    """

    recording: CodedRecording
    lost: tuple[int, ...]
    has_end: bool
    lost_voice: bool = False

    @property
    def is_whole(self) -> bool:
        """True if nothing had to be filled in."""
        return not self.lost and self.has_end and not self.lost_voice


def salvage(data: bytes, fallback: StreamHeader | None = None) -> Salvage:
    """Find the sound blocks of a stream: bytes may be changed, cut out, put in or missing.

    Memory is bounded by the length of `data`: a block number far beyond what the stream has room
    for is not believed.

    Args:
        data: The stream.
        fallback: The header to assume where the stream's own is damaged, that of the codec.

    Raises:
        BitstreamError: The header is damaged and there is no fallback, no block is sound, or more
            places look like blocks than damage leaves.
    """
    start, voice = data[: HEADER.size + CRC.size], None
    try:
        header = StreamHeader.unpack_fixed(start)
        had_voice = has_voice(start)
    except BitstreamError:
        if fallback is None:
            raise
        header, had_voice = fallback, True  # as far as is known
    if had_voice:
        voice = find_voice(data)
        header = replace(header, voice=voice)
    found, num_samples = _sound_records(data, header)
    if not found:
        raise BitstreamError("no block is sound: there is nothing to salvage")
    size, last = header.block_codes, max(found)
    codes_found = last * size + len(found[last])
    num_codes = codes_found
    if num_samples is not None:
        # A trailer far from what was found is itself damaged, though its CRC holds.
        stated = -(-num_samples // header.hop_length)
        if codes_found <= stated <= _most_blocks(data, header) * size:
            num_codes = stated
        else:
            num_samples = None
    lost = tuple(n for n in range(-(-num_codes // size)) if n not in found)
    codes = _filled(found, num_codes, size)
    length = num_codes * header.hop_length if num_samples is None else num_samples
    lost_voice = has_voice(start) and voice is None
    recording = CodedRecording(header, codes, length)
    return Salvage(recording, lost, num_samples is not None, lost_voice)


def _most_blocks(data: bytes, header: StreamHeader) -> int:
    """The most blocks that a stream of this many bytes may have had: four times its room.

    Of small streams more may be missing: up to `_SPARE_BLOCKS`, while they are not long.
    """
    spare = min(_SPARE_BLOCKS, max(1, _SPARE_CODES // header.block_codes))
    return spare + 4 * (len(data) // header.block_size(header.block_codes))


def _sound_records(data: bytes, header: StreamHeader) -> tuple[Blocks, int | None]:
    """Blocks whose CRC holds, by number, and the samples that a sound trailer states."""
    found: Blocks = {}
    num_samples, place = None, 0
    after, most = 0, _most_blocks(data, header)  # numbers from one up to the other may come
    view, summed = memoryview(data), 0
    while place + BLOCK.size <= len(data):
        number, count = BLOCK.unpack_from(data, place)
        # 1. A sound trailer ends the stream.
        if (number, count) == (END, 0):
            num_samples = unpack_trailer(bytes(view[place : place + TRAILER.size + CRC.size]))
            if num_samples is not None:
                break
        # 2. A sound block is kept, and the search goes on behind it.
        size = header.block_size(count)
        plausible = 1 <= count <= header.block_codes and after <= number < most
        if plausible and place + size <= len(data):
            summed += size
            if summed > _SUMMED_BYTES * len(data):
                raise BitstreamError(
                    f"expected a damaged stream, got {len(data)} bytes in which nearly every place "
                    "looks like a block"
                )
            codes = unpack_block(bytes(view[place : place + size]), header, number, count)
            if codes is not None:
                found[number] = codes
                # nothing follows a block that is shorter than the others
                after = number + 1 if count == header.block_codes else most
                place += size
                continue
        # 3. Otherwise the next byte may begin a record.
        place += 1
    return found, num_samples


def _filled(found: Blocks, num_codes: int, size: int) -> NDArray[np.uint16]:
    """(num_codes,) with lost blocks as repeats of the code before them."""
    codes = np.empty(num_codes, dtype=np.uint16)
    previous = found[min(found)][0]  # fills a gap at the start
    for number, start in enumerate(range(0, num_codes, size)):
        stop = min(start + size, num_codes)
        block = found.get(number)
        codes[start:stop] = previous
        if block is not None:
            codes[start : start + len(block)] = block
            previous = block[-1]
    return codes
