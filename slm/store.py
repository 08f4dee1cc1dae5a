"""Token store: codes of a corpus as memory-mapped uint16 shards, bound to the codec they are of.

`slm/shards.py` says which files a shard is. `store.json`, written last, lists the shards;
`writer.json` lets an unfinished store be continued by the same codec only.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .shards import (
    CODES,
    FORMAT,
    HEADER,
    OFFSETS,
    ROWS,
    ShardWriter,
    check_fingerprint,
    codec_names,
    read_marker,
    read_rows,
    shard_path,
)
from .storage import local_copy


class TokenStoreWriter:
    """Appends items to a token store, shard by shard; opening an unfinished store continues it.

    Finished shards are kept and their ids are in `done_ids`, so the caller passes over those; items
    that had not reached a finished shard are to be added again.

    Args:
        folder: Made when missing.
        codec_fingerprint: `HHCodec.code_fingerprint` of the codec that made the codes, or its
            `code_fingerprints`: a store begun under any of them is continued under that one.
        codebook_size: Codes lie in [0, codebook_size), at most 65536.
        frame_rate: Codes a second, Hz.
        shard_codes: A shard is written once it holds at least so many codes.

    Raises:
        ValueError: The folder holds a store of another codec, or `codebook_size` does not fit.
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
        self._num_shards = 0
        self.done_ids: set[str] = set()
        self._restore()
        self._pending_ids: set[str] = set()
        self._codes: list[np.ndarray] = []
        self._rows: list[dict[str, Any]] = []

    def add(self, codes: np.ndarray, row: dict[str, Any]) -> None:
        """Add one item.

        Args:
            codes: (L,) integers in [0, codebook_size), L >= 1.
            row: JSON-able; `id` is a string unique in the store. `text` and `speaker` are what
                the language model reads; everything else is kept as it is.

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
            json.dumps(row)
        except TypeError as error:
            raise ValueError(f"expected a JSON-able row for {item!r}: {error}") from error
        self._codes.append(codes)
        self._rows.append(row)
        self._pending_ids.add(item)
        if sum(map(len, self._codes)) >= self._shard_codes:
            self._flush()

    def close(self) -> None:
        """Write what is pending and then the header that makes the store readable."""
        self._flush()
        self._writer.close(self._num_shards)

    def _restore(self) -> None:
        """Take over the finished shards; anything else is written again under the same names."""
        while read_marker(self.folder, self._num_shards) is not None:
            rows = read_rows(shard_path(self.folder, self._num_shards, ROWS))
            self.done_ids.update(row["id"] for row in rows)
            self._num_shards += 1

    def _flush(self) -> None:
        if not self._rows:
            return
        self._writer.write(self._num_shards, self._codes, self._rows)
        self._num_shards += 1
        self.done_ids |= self._pending_ids
        self._pending_ids, self._codes, self._rows = set(), [], []


class TokenStore:
    """Read-only view of a finished store; codes stay on disk until they are asked for.

    Args:
        folder: A folder `TokenStoreWriter` closed, or the URL that one was pushed to
            (slm/storage.py), which is then kept and brought up to date in a local cache.
        codec_fingerprint: When given, the store must be of this codec: its `code_fingerprint`, or
            all its `code_fingerprints`.

    Raises:
        ValueError: Unfinished, truncated or unknown store, or one of another codec.
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
        header = json.loads(path.read_text(encoding="utf-8"))
        if header.get("format") != FORMAT:
            raise ValueError(f"expected {path} of format {FORMAT!r}, got {header.get('format')!r}")
        self.codec_fingerprint: str = header["codec_fingerprint"]
        self.codebook_size: int = header["codebook_size"]
        self.frame_rate: float = header["frame_rate"]
        if codec_fingerprint is not None:
            names = codec_names(codec_fingerprint)
            check_fingerprint(self.folder, self.codec_fingerprint, names)
        self.rows: list[dict[str, Any]] = []
        self._where: list[tuple[int, int, int]] = []  # shard, start, stop of each item
        self._maps: list[np.ndarray] = []
        for index, shard in enumerate(header["shards"]):
            self._open_shard(index, shard)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_codes(self) -> int:
        """Codes of all items together."""
        return sum(len(shard) for shard in self._maps)

    def codes(self, index: int) -> np.ndarray:
        """Codes of item `index`, uint16 (L,), a view of the mapped file."""
        shard, start, stop = self._where[index]
        return self._maps[shard][start:stop]

    def _open_shard(self, index: int, shard: dict[str, int]) -> None:
        path = shard_path(self.folder, index, CODES)
        rows = read_rows(shard_path(self.folder, index, ROWS))
        offsets = np.load(shard_path(self.folder, index, OFFSETS), allow_pickle=False)
        codes = path.stat().st_size // 2
        if (len(rows), len(offsets) - 1, codes) != (shard["items"], shard["items"], shard["codes"]):
            raise ValueError(
                f"expected {shard['items']} items and {shard['codes']} codes in {path}, got "
                f"{len(rows)} rows, {len(offsets) - 1} offsets, {codes} codes; encode it again"
            )
        # No file of no bytes can be mapped: a shard whose recordings were all bad.
        self._maps.append(np.memmap(path, dtype="<u2", mode="r") if codes else np.zeros(0, "<u2"))
        self.rows.extend(rows)
        spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        self._where.extend((index, start, stop) for start, stop in spans)
