"""Decoded audio on disk: one flat int16 file and its index, read through a memory map."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.files import read_json, write_json
from codec.files.json_lines import read_json_lines, write_json_lines
from codec.files.json_text import json_text

from .pcm import as_integers, as_waveform

SAMPLES, ITEMS, HEADER = "audio.i16", "items.jsonl", "store.json"
# Of `AudioStore.some_samples`.
_BLOCKS, _BLOCK = 256, 8192


class AudioStoreError(ValueError):
    """An audio store that is missing, unfinished or does not add up."""


class AudioStoreWriter:
    """Writer of an `AudioStore`, whose header comes last: an unfinished store is never read.

    Args:
        folder: Where the store goes; made when needed, an unfinished one is begun again.
        sample_rate: Of every waveform, Hz.
    """

    def __init__(self, folder: str | os.PathLike[str], sample_rate: int) -> None:
        self.folder = Path(folder)
        self.sample_rate = sample_rate
        self.folder.mkdir(parents=True, exist_ok=True)
        # from here on until `close` the store is unfinished
        (self.folder / HEADER).unlink(missing_ok=True)
        self._samples = (self.folder / SAMPLES).open("wb")
        self._items = (self.folder / ITEMS).open("w", encoding="utf-8", newline="\n")
        self._start = 0
        self._count = 0

    def add(self, waveform: NDArray[np.float32], row: dict[str, Any]) -> None:
        """Append a clip.

        Args:
            waveform: (T,) in [-1, 1]; stored as 16-bit integers.
            row: Fields of its row in the index; `start` and `num_samples` are added.

        Raises:
            AudioStoreError: The waveform is empty or not one-dimensional.
        """
        if waveform.ndim != 1 or len(waveform) == 0:
            raise AudioStoreError(f"expected a waveform (T,) with T > 0, got {waveform.shape}")
        integers = as_integers(waveform)
        self._samples.write(integers.tobytes())
        row = {**row, "start": self._start, "num_samples": len(integers)}
        self._items.write(json_text(row, indent=None))
        self._start += len(integers)
        self._count += 1

    def close(self) -> None:
        """Finish: after this the store can be read."""
        # On the disk before the header, which states that they are whole.
        for file in (self._samples, self._items):
            file.flush()
            os.fsync(file.fileno())
            file.close()
        header = {"sample_rate": self.sample_rate, "clips": self._count, "samples": self._start}
        write_json(self.folder / HEADER, header, indent=None)

    def __enter__(self) -> AudioStoreWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        self._samples.close()
        self._items.close()


def list_clips(
    folder: str | os.PathLike[str], sample_rate: int, rows: Iterable[dict[str, Any]]
) -> None:
    """Write a store that lists its clips and has none of their samples, which are read elsewhere.

    Args:
        folder: Where the store goes; made when needed.
        sample_rate: Hz.
        rows: Each with its `num_samples`.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    (path / SAMPLES).touch()
    listed = [{**row, "start": 0} for row in rows]
    write_json_lines(path / ITEMS, listed)
    header = {"sample_rate": sample_rate, "clips": len(listed), "samples": 0, "listed": True}
    write_json(path / HEADER, header, indent=None)


class AudioStore:
    """Random access to the clips of a finished store.

    Args:
        folder: Written by an `AudioStoreWriter`, or by `list_clips`: `is_listed` is true then, and
            no waveform can be read.

    Raises:
        AudioStoreError: The store is missing, unfinished or its files do not add up.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        header_path = self.folder / HEADER
        if not header_path.is_file():
            raise AudioStoreError(f"{self.folder}: no finished audio store; run the prepare stage")
        header = read_json(header_path, required=("sample_rate", "clips", "samples"))
        self.rows = read_json_lines(self.folder / ITEMS)
        size = (self.folder / SAMPLES).stat().st_size  # two bytes a sample
        if size != 2 * header["samples"] or len(self.rows) != header["clips"]:
            raise AudioStoreError(
                f"{self.folder}: expected {header['clips']} clips and {2 * header['samples']} "
                f"bytes, got {len(self.rows)} and {size}; prepare it again"
            )
        self.sample_rate: int = header["sample_rate"]
        self.is_listed: bool = header.get("listed", False)
        self._open()

    def _open(self) -> None:
        path = self.folder / SAMPLES
        empty = path.stat().st_size == 0
        # an empty file cannot be mapped
        self._samples = np.zeros(0, "<i2") if empty else np.memmap(path, dtype="<i2", mode="r")

    def __getstate__(self) -> dict[str, Any]:
        """All but the samples, which a worker maps for itself: pickled, they would be copied."""
        return {name: value for name, value in vars(self).items() if name != "_samples"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __len__(self) -> int:
        return len(self.rows)

    def waveform(self, index: int) -> NDArray[np.float32]:
        """The whole clip as (T,) float32 in [-1, 1]."""
        return self.crop(index, 0, self.rows[index]["num_samples"])

    def crop(self, index: int, start: int, num_samples: int, /) -> NDArray[np.float32]:
        """`num_samples` samples of a clip from `start` on, zero-padded past its end.

        Raises:
            AudioStoreError: The store lists its clips alone.
        """
        if self.is_listed:
            raise AudioStoreError(
                f"{self.folder}: expected a store of waveforms, got a list of clips without them "
                "(prepare.stored_splits)"
            )
        row = self.rows[index]
        first, end = row["start"] + start, row["start"] + row["num_samples"]
        taken = self._samples[first : min(end, first + num_samples)]
        crop = np.zeros(num_samples, dtype=np.float32)
        crop[: len(taken)] = as_waveform(taken)
        return crop

    def some_samples(self) -> bytes:
        """Read 256 blocks of 8192 samples spread evenly over the store, to tell it from others.

        Of a store up to 87 s at 24 kHz they are all samples.
        """
        starts = np.linspace(0, max(0, len(self._samples) - _BLOCK), _BLOCKS).astype(np.int64)
        return b"".join(self._samples[start : start + _BLOCK].tobytes() for start in starts)
