"""Token store: codes of a corpus as memory-mapped uint16 shards, bound to the codec they are of.

For each shard a folder holds `codes-NNNNN.u16` (codes end to end), `codes-NNNNN.offsets.npy`
(int64, one more than the items) and `codes-NNNNN.rows.jsonl` (one JSON object an item); a shard
exists once its rows file does. `store.json`, written last, lists the shards; `writer.json` lets an
unfinished store be continued by the same codec only.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

_FORMAT = "hh-slm token store 1"
_HEADER = "store.json"
_PROGRESS = "writer.json"


def _write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file beside `path`; `path` appears only when it is complete."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    _write_whole(path, lambda file: file.write(text.encode()))


def _read_rows(path: Path) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _check_fingerprint(folder: Path, stored: str, given: str) -> None:
    if stored != given:
        raise ValueError(
            f"token store {folder} holds codes of codec {stored}, expected codec {given}; "
            "encode the corpus again with this codec, into another folder"
        )


class TokenStoreWriter:
    """Appends items to a token store, shard by shard; opening an unfinished store continues it.

    Finished shards are kept and their ids are in `done_ids`, so the caller passes over those; items
    that had not reached a finished shard are to be added again.

    Args:
        folder: Made when missing.
        codec_fingerprint: `HHCodec.fingerprint` of the codec that made the codes.
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
        codec_fingerprint: str,
        codebook_size: int,
        frame_rate: float,
        shard_codes: int = 65536,
    ) -> None:
        if not 1 <= codebook_size <= 65536:
            raise ValueError(f"expected codebook_size in [1, 65536], got {codebook_size}")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._identity = {
            "format": _FORMAT,
            "codec_fingerprint": codec_fingerprint,
            "codebook_size": codebook_size,
            "frame_rate": float(frame_rate),
        }
        self._shard_codes = shard_codes
        self._claim()
        self._shards: list[dict[str, Any]] = []
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
        codes = self._checked(codes, item)
        row = {**row, "num_codes": len(codes)}
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
        if not self._shards:
            raise ValueError(f"expected at least one item in token store {self.folder}, got none")
        _write_json(self.folder / _HEADER, {**self._identity, "shards": self._shards})

    def _claim(self) -> None:
        """Bind the folder to this codec, or verify that it is bound to it."""
        path = self.folder / _PROGRESS
        if not path.exists():
            _write_json(path, self._identity)
            return
        stored = json.loads(path.read_text(encoding="utf-8"))
        fingerprint = self._identity["codec_fingerprint"]
        _check_fingerprint(self.folder, stored["codec_fingerprint"], fingerprint)
        if stored != self._identity:
            raise ValueError(
                f"token store {self.folder} was begun as {stored}, got {self._identity}"
            )

    def _restore(self) -> None:
        """Take over the finished shards; anything else is written again under the same names."""
        while (rows_path := self._path(len(self._shards), "rows.jsonl")).exists():
            rows = _read_rows(rows_path)
            self._record(rows)
            self.done_ids.update(row["id"] for row in rows)

    def _checked(self, codes: np.ndarray, item: str) -> np.ndarray:
        codes = np.asarray(codes)
        size = self._identity["codebook_size"]
        if codes.ndim != 1 or len(codes) == 0 or not np.issubdtype(codes.dtype, np.integer):
            shape = f"{codes.dtype} {codes.shape}"
            raise ValueError(f"expected integer codes (L,) with L >= 1 for {item!r}, got {shape}")
        if codes.min() < 0 or codes.max() >= size:
            span = f"[{codes.min()}, {codes.max()}]"
            raise ValueError(f"expected codes in [0, {size}) for {item!r}, got {span}")
        return codes.astype("<u2")

    def _path(self, index: int, suffix: str) -> Path:
        return self.folder / f"codes-{index:05d}.{suffix}"

    def _record(self, rows: list[dict[str, Any]]) -> None:
        self._shards.append({"items": len(rows), "codes": sum(row["num_codes"] for row in rows)})

    def _flush(self) -> None:
        if not self._rows:
            return
        index = len(self._shards)
        codes = np.concatenate(self._codes)
        offsets = np.cumsum([0, *map(len, self._codes)], dtype=np.int64)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self._rows)
        _write_whole(self._path(index, "u16"), lambda file: file.write(codes.tobytes()))
        _write_whole(self._path(index, "offsets.npy"), lambda file: np.save(file, offsets))
        # The rows file comes last: its presence says that the shard is whole.
        _write_whole(self._path(index, "rows.jsonl"), lambda file: file.write(lines.encode()))
        self._record(self._rows)
        self.done_ids |= self._pending_ids
        self._pending_ids, self._codes, self._rows = set(), [], []


class TokenStore:
    """Read-only view of a finished store; codes stay on disk until they are asked for.

    Args:
        folder: A folder `TokenStoreWriter` closed.
        codec_fingerprint: When given, the store must be of this codec.

    Raises:
        ValueError: Unfinished, truncated or unknown store, or one of another codec.
    """

    def __init__(self, folder: Path | str, codec_fingerprint: str | None = None) -> None:
        self.folder = Path(folder)
        path = self.folder / _HEADER
        if not path.is_file():
            raise ValueError(
                f"expected a finished token store at {self.folder}, found no {_HEADER}; "
                "encode the corpus (an unfinished encoding continues where it stopped)"
            )
        header = json.loads(path.read_text(encoding="utf-8"))
        if header.get("format") != _FORMAT:
            raise ValueError(f"expected {path} of format {_FORMAT!r}, got {header.get('format')!r}")
        self.codec_fingerprint: str = header["codec_fingerprint"]
        self.codebook_size: int = header["codebook_size"]
        self.frame_rate: float = header["frame_rate"]
        if codec_fingerprint is not None:
            _check_fingerprint(self.folder, self.codec_fingerprint, codec_fingerprint)
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
        stem = self.folder / f"codes-{index:05d}"
        path = stem.with_suffix(".u16")
        rows = _read_rows(stem.with_suffix(".rows.jsonl"))
        offsets = np.load(stem.with_suffix(".offsets.npy"), allow_pickle=False)
        codes = path.stat().st_size // 2
        if (len(rows), len(offsets) - 1, codes) != (shard["items"], shard["items"], shard["codes"]):
            raise ValueError(
                f"expected {shard['items']} items and {shard['codes']} codes in {path}, got "
                f"{len(rows)} rows, {len(offsets) - 1} offsets, {codes} codes; encode it again"
            )
        self._maps.append(np.memmap(path, dtype="<u2", mode="r"))
        self.rows.extend(rows)
        spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        self._where.extend((index, start, stop) for start, stop in spans)
