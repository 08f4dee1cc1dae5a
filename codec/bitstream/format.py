"""`.hhc`: codes on disk, in the records of `codec.bitstream.records`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from codec.files import write_bytes
from codec.files.reading import read_file

from .packing import CRC, pack_codes
from .records import (
    BLOCK,
    END,
    TRAILER,
    BitstreamError,
    StreamHeader,
    file_named,
    sealed,
    stated_level,
    unpack_block,
    unpack_trailer,
)

__all__ = [
    "SUFFIX",
    "BitstreamError",
    "CodedRecording",
    "StreamHeader",
    "StreamReader",
    "StreamWriter",
    "stated_level",
]

SUFFIX = ".hhc"


class StreamWriter:
    """Writer of a stream whose codes come in pieces.

    Args:
        file: Binary; written from its present position, never read or moved.
        header: Of the stream.
    """

    def __init__(self, file: BinaryIO, header: StreamHeader) -> None:
        self.file, self.header = file, header
        self.num_codes = 0
        self._number = 0
        self._waiting = np.zeros(0, dtype=np.uint16)
        file.write(header.pack())

    def write(self, codes: NDArray[np.integer]) -> None:
        """Take (N,) further codes; whole blocks go to the file at once.

        Raises:
            BitstreamError: They are not integers (N,) in 0..codebook_size - 1.
        """
        codes = np.asarray(codes)
        if codes.ndim != 1 or not np.issubdtype(codes.dtype, np.integer):
            raise BitstreamError(f"expected integer codes (L,), got {codes.dtype} {codes.shape}")
        if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < self.header.codebook_size:
            raise BitstreamError(
                f"expected codes in 0..{self.header.codebook_size - 1}, got "
                f"{int(codes.min())}..{int(codes.max())}"
            )
        self._waiting = np.concatenate([self._waiting, codes.astype(np.uint16)])
        self.num_codes += len(codes)
        # All blocks but the last are full.
        while len(self._waiting) >= self.header.block_codes:
            self._write_block(self._waiting[: self.header.block_codes])
            self._waiting = self._waiting[self.header.block_codes :]

    def finish(self, num_samples: int) -> None:
        """Write what is left and the trailer; the file stays open.

        Raises:
            BitstreamError: The codes are not ceil(num_samples / hop_length) many.
        """
        _check_length(self.num_codes, num_samples, self.header)
        if len(self._waiting):
            self._write_block(self._waiting)
        self.file.write(sealed(TRAILER.pack(END, 0, num_samples)))

    def _write_block(self, codes: NDArray[np.uint16]) -> None:
        payload = pack_codes(codes, self.header.code_bits)
        self.file.write(sealed(BLOCK.pack(self._number, len(codes)) + payload))
        self._number += 1


class StreamReader:
    """Reader of a stream that holds one block at a time, whatever the file claims.

    Args:
        file: Binary, at the stream's first byte.

    Attributes:
        header: Of the stream.
        num_samples: Of the recording; None until `blocks` has come to the end.

    Raises:
        BitstreamError: The header is not one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.header = StreamHeader.read(file)
        self.num_samples: int | None = None

    def blocks(self) -> Iterator[NDArray[np.uint16]]:
        """Iterate over the codes, a block at a time.

        Raises:
            BitstreamError: Naming the first block that is damaged or missing.
        """
        number, num_codes, is_last = 0, 0, False
        while True:
            start = self.file.read(BLOCK.size)
            if start == BLOCK.pack(END, 0):  # the trailer
                break
            # The count bounds what is read, so a damaged one cannot fill the memory.
            count = BLOCK.unpack(start)[1] if len(start) == BLOCK.size else 0
            if is_last or not 1 <= count <= self.header.block_codes:
                raise _damaged(number)
            record = start + self.file.read(self.header.block_size(count) - BLOCK.size)
            codes = unpack_block(record, self.header, number, count)
            if codes is None:
                raise _damaged(number)
            yield codes
            # Only the last block may be short.
            is_last = count < self.header.block_codes
            number, num_codes = number + 1, num_codes + count
        num_samples = unpack_trailer(start + self.file.read(TRAILER.size + CRC.size - BLOCK.size))
        if num_samples is None:
            raise BitstreamError(f"the trailer after block {number - 1} is damaged")
        _check_length(num_codes, num_samples, self.header)
        if self.file.read(1):
            raise BitstreamError("there are bytes after the trailer")
        self.num_samples = num_samples


@dataclass(frozen=True)
class CodedRecording:
    """Codes of one recording, all in memory.

    Attributes:
        header: Names the codec.
        codes: (L,) uint16.
        num_samples: Length of the recording at `header.sample_rate`; L = ceil(it / hop_length).
    """

    header: StreamHeader
    codes: NDArray[np.uint16]
    num_samples: int

    @property
    def duration(self) -> float:
        """Length of the recording, s."""
        return self.num_samples / self.header.sample_rate

    def to_bytes(self) -> bytes:
        """Return the whole stream.

        Raises:
            BitstreamError: Codes and lengths do not fit together.
        """
        file = BytesIO()
        writer = StreamWriter(file, self.header)
        writer.write(self.codes)
        writer.finish(self.num_samples)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> CodedRecording:
        """Read a whole stream.

        Raises:
            BitstreamError: It is damaged.
        """
        reader = StreamReader(BytesIO(data))
        codes = [np.zeros(0, dtype=np.uint16), *reader.blocks()]
        assert reader.num_samples is not None
        return cls(reader.header, np.concatenate(codes), reader.num_samples)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.hhc` file, which appears only when it is whole.

        Raises:
            BitstreamError: Another suffix, or codes and lengths that do not fit together.
            OSError: The disk refused; no file is left behind.
        """
        write_stream(path, self.to_bytes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CodedRecording:
        """Read a `.hhc` file.

        Raises:
            BitstreamError: It is damaged; the message names the file.
            OSError: It is missing or cannot be opened.
        """
        with file_named(path):
            return cls.from_bytes(read_file(path))


def write_stream(path: str | os.PathLike[str], to_bytes: Callable[[], bytes]) -> None:
    """Write a `.hhc` file, whole or not at all.

    Args:
        path: Of the file.
        to_bytes: Makes its content, once its name is found to be right.

    Raises:
        BitstreamError: Another suffix.
        OSError: The disk refused.
    """
    if Path(path).suffix.lower() != SUFFIX:
        raise BitstreamError(f"{path}: expected a name ending in {SUFFIX}")
    write_bytes(path, to_bytes())


def _check_length(num_codes: int, num_samples: int, header: StreamHeader) -> None:
    expected = -(-num_samples // header.hop_length)
    if not 1 <= num_samples < 1 << 64 or num_codes != expected:
        raise BitstreamError(
            f"expected {expected} codes for {num_samples} samples (1 or more), got {num_codes}"
        )


def _damaged(number: int) -> BitstreamError:
    return BitstreamError(f"block {number} is damaged or missing", (number,))
