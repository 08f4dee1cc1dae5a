"""Rows of a token store, left on disk: what is kept is where each line of a shard begins.

A row costs 8 bytes once a row of its shard has been asked for by number, and nothing before; going
through all rows in order keeps nothing at all. `slm/data/corpus_index.py` keeps what training needs
of them.
"""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, overload

import numpy as np

from .shards import ROWS, shard_path

_NEWLINE = 10


class Rows(Sequence[dict[str, Any]]):
    """One JSON object an item, read when it is asked for; changing what was read changes no row.

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
        shard, place = self.locate(index)
        starts = self._starts_of(shard)
        with open(shard_path(self._folder, shard, ROWS), "rb") as file:
            file.seek(starts[place])
            return self._parsed(shard, file.read(starts[place + 1] - starts[place]).decode())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every row in order, a file after the other."""
        for shard in range(len(self._first) - 1):
            count = 0
            path = shard_path(self._folder, shard, ROWS)
            with open(path, encoding="utf-8", newline="\n") as file:
                for count, line in enumerate(file, start=1):  # noqa: B007 - used after the loop
                    yield self._parsed(shard, line)
            self._check(shard, count)

    def locate(self, index: int) -> tuple[int, int]:
        """Shard of an item, and its place in there.

        Raises:
            IndexError: There is no such item.
        """
        wanted = index + len(self) if index < 0 else index
        if not 0 <= wanted < len(self):
            raise IndexError(f"expected an item in [0, {len(self)}), got {index}")
        shard = bisect_right(self._first, wanted) - 1
        return shard, wanted - self._first[shard]

    def _starts_of(self, shard: int) -> np.ndarray:
        """Bytes before each line of a shard's file, and in all, int64 (items + 1,)."""
        if shard not in self._line_starts:
            content = np.fromfile(shard_path(self._folder, shard, ROWS), dtype=np.uint8)
            ends = np.flatnonzero(content == _NEWLINE) + 1
            self._check(shard, len(ends))
            self._line_starts[shard] = np.concatenate([[0], ends]).astype(np.int64)
        return self._line_starts[shard]

    def _parsed(self, shard: int, line: str) -> dict[str, Any]:
        try:
            return json.loads(line)
        except json.JSONDecodeError as error:
            path = shard_path(self._folder, shard, ROWS)
            raise ValueError(f"expected a row as JSON in {path}: {error}") from error

    def _check(self, shard: int, found: int) -> None:
        expected = self._first[shard + 1] - self._first[shard]
        if found != expected:
            path = shard_path(self._folder, shard, ROWS)
            raise ValueError(f"expected {expected} rows in {path}, got {found}; encode it again")
