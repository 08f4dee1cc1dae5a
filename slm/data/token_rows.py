"""Rows of a token store: JSON lines of its shards, read when they are asked for."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import numpy as np

from codec.files.json_lines import iter_json_lines

from .shards import ROWS, shard_path

_NEWLINE = 10


class Rows(Sequence[dict[str, Any]]):
    """One JSON object an item, read when it is asked for; changing what was read changes no row.

    A row costs 8 bytes once a row of its shard has been asked for by number, and nothing before;
    going through all rows in order keeps nothing at all.

    Args:
        folder: Of the store.
        counts: Items of each shard.

    Raises:
        ValueError: On reading: a line is no JSON, or a shard holds another number of rows than it
            should.
    """

    def __init__(self, folder: Path, counts: Sequence[int]) -> None:
        self._folder = folder
        self._first = [0, *accumulate(counts)]
        self._line_starts: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self._first[-1]

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """A row, or the rows of a slice as a list."""
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        shard, within = self.locate(index)
        starts = self._starts_of(shard)
        with open(shard_path(self._folder, shard, ROWS), "rb") as file:
            # One line of a shard, however long the shard is.
            file.seek(starts[within])
            line = file.read(starts[within + 1] - starts[within])
        try:
            return json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file.name}: expected a row as JSON ({error})") from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every row in order, a shard after the other."""
        for shard in range(len(self._first) - 1):
            count = 0
            for _, row in iter_json_lines(shard_path(self._folder, shard, ROWS)):
                count += 1
                yield row
            self._check(shard, count)

    def locate(self, index: int) -> tuple[int, int]:
        """Shard of an item, and its number in there.

        Raises:
            IndexError: There is no such item.
        """
        wanted = index + len(self) if index < 0 else index
        if not 0 <= wanted < len(self):
            raise IndexError(f"expected an item in [0, {len(self)}), got {index}")
        # Shards without items share a first item with the next one, which is the last to fit.
        shard = bisect_right(self._first, wanted) - 1
        return shard, wanted - self._first[shard]

    def _starts_of(self, shard: int) -> np.ndarray:
        """Bytes before each line of a shard's file, and in all, int64 (items + 1,)."""
        if shard not in self._line_starts:
            # Newlines within a text are escaped in JSON, so each one ends a row.
            content = np.fromfile(shard_path(self._folder, shard, ROWS), dtype=np.uint8)
            ends = np.flatnonzero(content == _NEWLINE) + 1
            self._check(shard, len(ends))
            self._line_starts[shard] = np.concatenate([[0], ends]).astype(np.int64)
        return self._line_starts[shard]

    def _check(self, shard: int, found: int) -> None:
        expected = self._first[shard + 1] - self._first[shard]
        if found != expected:
            path = shard_path(self._folder, shard, ROWS)
            raise ValueError(f"expected {expected} rows in {path}, got {found}; encode it again")
