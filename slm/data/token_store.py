"""Token store: codes of a corpus as memory-mapped uint16 shards, bound to the codec they are of.

`slm/data/shards.py` describes the files of a shard. `store.json`, written last, lists the shards;
`writer.json` lets an unfinished store be continued by the same codec only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from codec.files.json_lines import read_json_lines
from codec.files.json_text import json_text
from slm.storage.sync import local_copy

from .shards import (
    CODES,
    HEADER,
    OFFSETS,
    PARTS,
    ROWS,
    ShardWriter,
    check_fingerprint,
    check_store,
    codec_names,
    read_header,
    read_marker,
    shard_path,
)
from .token_rows import Rows

# Shards that are mapped at a time, two files each: Linux lets a process map 65,530.
_MAPPED_SHARDS = 8192


class TokenStoreWriter:
    """Appends items to a token store, shard by shard; opening an unfinished store continues it.

    Finished shards are kept and their ids are in `done_ids`, so the caller passes over those; items
    that had not reached a finished shard are to be added again.

    Args:
        folder: As `ShardWriter` takes it, and so are the codec's properties.
        codec_fingerprint: See there.
        codebook_size: See there.
        frame_rate: See there.
        shard_codes: A shard is written once it holds at least so many codes.

    Attributes:
        num_shards: Finished shards.
        done_ids: Ids of their items.

    Raises:
        ValueError: As `ShardWriter`.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        codec_fingerprint: str | Sequence[str],
        codebook_size: int,
        frame_rate: float,
        shard_codes: int = 65536,
    ) -> None:
        self._writer = ShardWriter(
            folder,
            codec_fingerprint=codec_fingerprint,
            codebook_size=codebook_size,
            frame_rate=frame_rate,
        )
        self.folder = self._writer.folder
        self._shard_codes = shard_codes
        self.num_shards = 0
        self.done_ids: set[str] = set()
        # Finished shards are taken over; anything else is written again under the same names.
        while read_marker(self.folder, self.num_shards) is not None:
            rows = read_json_lines(shard_path(self.folder, self.num_shards, ROWS))
            self.done_ids.update(row["id"] for row in rows)
            self.num_shards += 1
        self._pending_ids: set[str] = set()
        self._codes: list[np.ndarray] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, codes: np.ndarray, row: dict[str, Any]) -> None:
        """Add one item.

        Args:
            codes: (L,) integers in [0, codebook_size), L >= 1.
            row: JSON-able; `id` is a string unique in the store. The language model uses `text`
                and `speaker`; everything else is kept as it is.

        Raises:
            ValueError: The codes or the id do not fit, or the row cannot be written as JSON.
        """
        item = row.get("id")
        if not isinstance(item, str) or not item:
            raise ValueError(f"expected a row with a non-empty string `id`, got {item!r}")
        if item in self.done_ids or item in self._pending_ids:
            raise ValueError(f"expected ids used once, got {item!r} again in {self.folder}")
        codes = self._writer.checked(codes, item)
        try:
            json_text(row)  # now, and not when the shard is written with others
        except ValueError as error:
            raise ValueError(f"expected a JSON-able row for {item!r}: {error}") from error
        self._codes.append(codes)
        self._rows.append(row)
        self._pending_ids.add(item)
        if sum(map(len, self._codes)) >= self._shard_codes:
            self._flush()

    def close(self) -> None:
        """Write what is pending and then the header that makes the store readable."""
        self._flush()
        self._writer.close(self.num_shards)

    def _flush(self) -> None:
        if not self._rows:
            return
        self._writer.write(self.num_shards, self._codes, self._rows)
        self.num_shards += 1
        # Done once the shard's marker is there.
        self.done_ids |= self._pending_ids
        self._pending_ids, self._codes, self._rows = set(), [], []


class TokenStore:
    """Read-only view of a finished store; codes and rows stay on disk until they are asked for.

    Opening reads the header and the sizes of the files. Memory is then some hundred bytes a shard;
    `lengths` takes 4 bytes an item and `rows` 8, each once it is used.

    Args:
        folder: A folder `TokenStoreWriter` closed, or the URL that one was pushed to
            (slm/storage/sync.py), which is then kept and brought up to date in a local cache.
        codec_fingerprint: When given, the store must be of this codec: its `code_fingerprint`, or
            all its `code_fingerprints`.

    Attributes:
        rows: Metadata of each item with its `num_codes`, read when it is asked for.

    Raises:
        ValueError: Unfinished, truncated or unknown store, or one of another codec. Rows and
            offsets are counted when they are first used.
    """

    def __init__(
        self, folder: Path | str, codec_fingerprint: str | Sequence[str] | None = None
    ) -> None:
        self.folder = local_copy(folder)
        path = self.folder / HEADER
        if not path.is_file():
            raise ValueError(
                f"expected a finished token store at {self.folder}, found no {HEADER}; "
                "encode the corpus (an unfinished encoding continues where it stopped)"
            )
        header = read_header(path)
        self.codec_fingerprint: str = header["codec_fingerprint"]
        self.codebook_size: int = header["codebook_size"]
        self.frame_rate: float = header["frame_rate"]
        if codec_fingerprint is not None:
            names = codec_names(codec_fingerprint)
            check_fingerprint(self.folder, self.codec_fingerprint, names)
        self._shards: list[dict[str, int]] = header["shards"]
        self.rows = Rows(self.folder, [shard["items"] for shard in self._shards])
        self._maps: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._rising: set[int] = set()  # shards whose offsets were looked through
        self._is_checked = False
        # Sizes alone, which is quick; a cut file would else show in the midst of a run.
        for index in range(len(self._shards)):
            self._check_shard(index)

    def __len__(self) -> int:
        return len(self.rows)

    def check(self) -> None:
        """Compare every file with the checksum that was noted when it was written, once.

        It reads the whole store, which a training does too.

        Raises:
            ValueError: A file is not what was written; names it.
        """
        if not self._is_checked:
            check_store(self.folder)
        self._is_checked = True

    @property
    def num_codes(self) -> int:
        """Codes of all items together."""
        return sum(shard["codes"] for shard in self._shards)

    @property
    def shard_sizes(self) -> list[dict[str, int]]:
        """Items and codes of each shard."""
        return self._shards

    @cached_property
    def lengths(self) -> np.ndarray:
        """Codes of each item, int32 (N,)."""
        # Read, not mapped: each shard's offsets are needed this once.
        counts = [np.diff(self._offsets(index)) for index in range(len(self._shards))]
        return np.concatenate(counts, dtype=np.int32)

    def codes(self, index: int) -> np.ndarray:
        """Codes of item `index`, uint16 (L,), a view of the mapped file."""
        shard, within = self.rows.locate(index)
        codes, offsets = self._mapped(shard)
        return codes[offsets[within] : offsets[within + 1]]

    def _mapped(self, shard: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes and offsets of a shard; the ones used longest ago are let go."""
        if shard in self._maps:
            self._maps.move_to_end(shard)
            return self._maps[shard]
        path = shard_path(self.folder, shard, CODES)
        # No file of no bytes can be mapped: a shard whose recordings were all bad.
        empty = self._shards[shard]["codes"] == 0
        codes = np.zeros(0, "<u2") if empty else np.memmap(path, dtype="<u2", mode="r")
        # Slices of plain arrays are made in a third of the time that those of a memmap take.
        self._maps[shard] = codes.view(np.ndarray), self._offsets(shard, "r")
        if len(self._maps) > _MAPPED_SHARDS:
            self._maps.popitem(last=False)
        return self._maps[shard]

    def _offsets(self, shard: int, mode: Literal["r"] | None = None) -> np.ndarray:
        """Offsets of the items of a shard, int64 (items + 1,), read or mapped."""
        path, about = shard_path(self.folder, shard, OFFSETS), self._shards[shard]
        offsets = np.load(path, mmap_mode=mode, allow_pickle=False)
        is_list = offsets.ndim == 1 and offsets.dtype == np.int64 and len(offsets) > 0
        got = f"{offsets.dtype} {offsets.shape}"
        if is_list:
            got = f"{len(offsets) - 1} items and {offsets[-1]} codes"
            # An item has a code or more, so each offset is above the one before it.
            # Looked through once: a shard is mapped again and again by a training.
            if shard not in self._rising:
                is_list = offsets[0] == 0 and bool((np.diff(offsets) > 0).all())
                got += "" if is_list else ", not rising from 0"
        if not is_list or len(offsets) != about["items"] + 1 or offsets[-1] != about["codes"]:
            raise ValueError(
                f"expected offsets of {about['items']} items and {about['codes']} codes in {path}, "
                f"got {got}; encode it again"
            )
        self._rising.add(shard)
        return offsets.view(np.ndarray)

    def _check_shard(self, index: int) -> None:
        about, parts = self._shards[index], [shard_path(self.folder, index, part) for part in PARTS]
        missing = [path.name for path in parts if not path.is_file()]
        if missing:
            raise ValueError(f"expected {missing} in {self.folder}, found none; encode it again")
        codes = parts[0].stat().st_size // 2
        if codes != about["codes"]:
            raise ValueError(
                f"expected {about['items']} items and {about['codes']} codes in {parts[0]}, got "
                f"{codes} codes; encode it again"
            )
