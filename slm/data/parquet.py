"""Token stores as Parquet, which `datasets`, pandas, DuckDB and others read, and back.

A row is an item: `id`, `codes` (list of uint16), `num_codes`, the fields of the store's rows that
hold one kind of value in every row that has them, as columns of their own, and `row`, all fields as
JSON, so that a store comes back as it was. The codec is named in every row, in columns that take a
few bytes in all: other programs keep columns, but not a file's metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.checks import count
from codec.files import whole_file
from codec.files.json_lines import iter_json_lines
from codec.files.json_text import json_text, json_value
from codec.requirements import install_command

from .shards import CODES, HEADER, ROWS, shard_path
from .token_store import TokenStore, TokenStoreWriter

if TYPE_CHECKING:
    import pyarrow as pa

CODEC = "codec_fingerprint", "codebook_size", "frame_rate"
_OWN = ("id", "codes", "num_codes", "row", *CODEC)
# Items that are in memory at a time.
ROWS_AT_ONCE = 4096


def export_parquet(store: TokenStore, path: Path | str, *, rows: int = ROWS_AT_ONCE) -> int:
    """Write a store as a Parquet file, which appears only when it is whole.

    Args:
        store: The store.
        path: Of the file.
        rows: Items a row group.

    Returns:
        Number of items.

    Raises:
        ImportError: The package pyarrow is missing.
        OSError: The disk refused.
    """
    import_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = _columns(store)
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("codes", pa.list_(pa.uint16())),
            ("num_codes", pa.int32()),
            *((name, _type(kind)) for name, kind in fields.items()),
            ("row", pa.string()),
            ("codec_fingerprint", pa.string()),
            ("codebook_size", pa.int32()),
            ("frame_rate", pa.float64()),
        ]
    )
    with whole_file(Path(path)) as partial, pq.ParquetWriter(partial, schema) as writer:
        for first in range(0, len(store), rows):
            indices = range(first, min(first + rows, len(store)))
            writer.write_table(_table(store, indices, fields, schema), row_group_size=rows)
        if not len(store):
            writer.write_table(schema.empty_table())
    return len(store)


def import_parquet(path: Path | str, folder: Path | str, *, shard_codes: int = 65536) -> int:
    """Write a token store from a Parquet file of `export_parquet`, or of the same columns.

    Columns beside `codes` and those of the codec become fields of the rows. Where there is a column
    `row`, its fields are taken as far as no other column has another value.

    Args:
        path: Of the file.
        folder: Of the store; an unfinished one of the first items of this file is continued, a
            finished one stays as it is and has to hold all of them.
        shard_codes: As of `TokenStoreWriter`.

    Returns:
        Number of items.

    Raises:
        ImportError: The package pyarrow is missing.
        ValueError: No Parquet file, missing columns, codes of several codecs, rows that a store
            refuses, an id that stands twice, or a folder with a store of another file.
    """
    import_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, writer, kept = Path(path), None, dict[str, bytes]()
    if not path.is_file():
        raise ValueError(f"expected a Parquet file at {path}, found none")
    is_finished = (Path(folder) / HEADER).is_file()
    try:
        with pq.ParquetFile(path) as file:
            for number, (row, codec, codes) in enumerate(_rows(file, path), start=1):
                _check_given(row, codec, f"{path}: row {number}")
                if writer is None:
                    first = codec
                    writer = TokenStoreWriter(folder, **codec, shard_codes=shard_codes)
                    kept = _kept(writer)
                if codec != first:
                    raise ValueError(f"{path}: expected codes of one codec {first}, got {codec}")
                # An import that was cut off has kept the first items of the file.
                if not kept and not is_finished:
                    writer.add(codes, row)
                elif kept.pop(row["id"], None) != _digest(codes, row):
                    raise _other_file(folder, path, row["id"])
    except pa.ArrowException as error:
        raise ValueError(f"{path}: expected a Parquet file of a token store ({error})") from error
    if writer is None:
        raise ValueError(f"{path}: expected an item or more, got none")
    if kept:
        raise _other_file(folder, path, next(iter(kept)))
    writer.close()
    return len(TokenStore(folder))


def import_pyarrow() -> None:
    """Raise `ImportError`, with the command that mends it, where pyarrow is missing."""
    try:
        import pyarrow  # noqa: F401 - whether it is there
    except ImportError as error:
        message = f"Parquet needs the package pyarrow: {install_command('pyarrow')}"
        raise ImportError(f"{message} ({error})") from error


def _stored_fields(stored: Any, where: str) -> dict[str, Any]:
    """The fields of a row's column `row`, {} where it has none."""
    try:
        whole = json_value(stored) if stored else {}
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{where}: expected JSON in the column row, got {stored!r:.60}") from error
    if not isinstance(whole, dict):
        raise ValueError(f"{where}: expected an object in the column row, got {stored!r:.60}")
    return whole


def _check_given(row: dict[str, Any], codec: dict[str, Any], where: str) -> None:
    """Raise `ValueError` for a row without an id, or without what tells its codec."""
    for name, value in {"id": row.get("id"), **codec}.items():
        if value is None:
            raise ValueError(f"{where}: expected {name}, got none")
    count(f"{where}: codebook_size", codec["codebook_size"], 1)


def _kept(writer: TokenStoreWriter) -> dict[str, bytes]:
    """Digests of the items that a store has already, by id."""
    found: dict[str, bytes] = {}
    for shard in range(writer.num_shards):
        codes, start = np.fromfile(shard_path(writer.folder, shard, CODES), dtype="<u2"), 0
        for _, row in iter_json_lines(shard_path(writer.folder, shard, ROWS)):
            stop = start + row["num_codes"]
            found[row["id"]] = _digest(codes[start:stop], row)
            start = stop
    return found


def _digest(codes: np.ndarray, row: dict[str, Any]) -> bytes:
    """Digest of an item, whatever integers its codes (L,) are."""
    text = json_text(dict(sorted(_given(row).items())), indent=None)
    values = np.asarray(codes, dtype=np.float64).tobytes()  # exact for codes, and no overflow
    return hashlib.sha256(text.encode() + values).digest()[:16]


def _other_file(folder: Path | str, path: Path, item: str) -> ValueError:
    return ValueError(
        f"{folder}: expected a new folder, or a store of the items of {path}, got another item "
        f"{item!r}; import into another folder"
    )


def _columns(store: TokenStore) -> dict[str, type]:
    """Fields of the rows that hold one plain type wherever they are, in the order they appear."""
    kinds: dict[str, set[type]] = {}
    for row in store.rows:
        for name, value in row.items():
            if value is not None and name not in _OWN:
                kinds.setdefault(name, set()).add(type(value) if _fits(value) else object)
    found: dict[str, type] = {}
    for name, types in kinds.items():
        kind = float if types == {int, float} else next(iter(types))
        if (len(types) == 1 or types == {int, float}) and kind in (str, int, float, bool):
            found[name] = kind
    return found


def _fits(value: Any) -> bool:
    """True if a column can hold a value: whole numbers of 64 bits, texts of UTF-8."""
    if isinstance(value, str):
        # JSON can escape half a surrogate pair, UTF-8 cannot hold it.
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    return not isinstance(value, int) or -(1 << 63) <= value < 1 << 63


def _type(kind: type) -> pa.DataType:
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    return types[kind]


def _table(
    store: TokenStore, indices: range, fields: dict[str, type], schema: pa.Schema
) -> pa.Table:
    """Items of a store as a table."""
    import pyarrow as pa

    items = [store.rows[index] for index in indices]
    codes = [store.codes(index) for index in indices]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in codes])]).astype(np.int32)
    values = pa.array(np.concatenate(codes).astype(np.uint16))
    columns: dict[str, Any] = {
        "id": [item["id"] for item in items],
        "codes": pa.ListArray.from_arrays(pa.array(offsets), values),
        "num_codes": [len(each) for each in codes],
        "row": [json_text(_given(item), indent=None).rstrip("\n") for item in items],
        **{name: [getattr(store, name)] * len(items) for name in CODEC},
    }
    for name, kind in fields.items():
        found = [item.get(name) for item in items]
        columns[name] = [None if value is None else kind(value) for value in found]
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _given(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what a store counts itself."""
    return {name: value for name, value in row.items() if name != "num_codes"}


def _rows(file: Any, path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any], np.ndarray]]:
    """Rows of a Parquet file, each with the columns of its codec and its codes (L,)."""
    names = file.schema_arrow.names
    missing = [name for name in ("id", "codes", *CODEC) if name not in names]
    if missing:
        raise ValueError(f"{path}: expected the columns {', '.join(missing)}, found none")
    number = 0
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
        for row in batch.to_pylist():
            number += 1
            where = f"{path}: row {number}"
            # Apart from the fields, which may go by the same names in the column `row`.
            codec = {name: row.pop(name) for name in CODEC}
            codes = _codes_of(row.pop("codes"), where)
            whole = _stored_fields(row.pop("row", None), where)
            row.pop("num_codes", None)
            # What was changed in a column counts; where it is equal, the field keeps its type.
            changed = {
                name: value
                for name, value in row.items()
                if (value is not None if name not in whole else value != whole[name])
            }
            yield whole | changed, codec, codes


def _codes_of(values: Any, where: str) -> np.ndarray:
    """The value of the column `codes` as an array, whatever it holds."""
    try:
        return np.asarray(values if values is not None else [])
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{where}: expected a list of codes, got {values!r:.60}") from error
