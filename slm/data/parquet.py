"""Token stores as Parquet, which `datasets`, pandas, DuckDB and others read, and back.

A row is an item: `id`, `codes` (list of uint16), `num_codes`, the fields of the store's rows that
hold one kind of value in every row that has them, as columns of their own, and `row`, all fields as
JSON, so that a store comes back as it was. The codec is named in every row, in columns that take a
few bytes in all: other programs keep columns, but not a file's metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codec.checks import count
from codec.files import whole_file
from codec.json_text import json_text, json_value
from codec.requirements import install_command

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
        folder: Of the store; an unfinished one is continued.
        shard_codes: As of `TokenStoreWriter`.

    Returns:
        Number of items.

    Raises:
        ImportError: The package pyarrow is missing.
        ValueError: No Parquet file, missing columns, codes of several codecs, or rows that a store
            refuses.
    """
    import_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, writer = Path(path), None
    if not path.is_file():
        raise ValueError(f"expected a Parquet file at {path}, found none")
    try:
        with pq.ParquetFile(path) as file:
            missing = [
                name for name in ("id", "codes", *CODEC) if name not in file.schema_arrow.names
            ]
            if missing:
                raise ValueError(f"{path}: expected the columns {', '.join(missing)}, found none")
            for number, row in enumerate(_rows(file, path), start=1):
                lacking = [name for name in ("id", *CODEC) if row.get(name) is None]
                if lacking:
                    raise ValueError(f"{path}: row {number}: expected {lacking[0]}, got none")
                codec = {name: row.pop(name) for name in CODEC}
                size = codec["codebook_size"]
                count(f"{path}: row {number}: codebook_size", size, 1)
                if writer is None:
                    first = codec
                    writer = TokenStoreWriter(folder, **codec, shard_codes=shard_codes)
                if codec != first:
                    raise ValueError(f"{path}: expected codes of one codec {first}, got {codec}")
                codes = row.pop("codes")
                if row["id"] not in writer.done_ids:
                    writer.add(codes, row)
    except pa.ArrowException as error:
        raise ValueError(f"{path}: expected a Parquet file of a token store ({error})") from error
    if writer is None:
        raise ValueError(f"{path}: expected an item or more, got none")
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


def _columns(store: TokenStore) -> dict[str, type]:
    """Fields of the rows that hold one plain type wherever they are, in the order they appear."""
    kinds: dict[str, set[type]] = {}
    for row in store.rows:
        for name, value in row.items():
            if value is not None and name not in _OWN:
                kinds.setdefault(name, set()).add(type(value))
    found: dict[str, type] = {}
    for name, types in kinds.items():
        kind = float if types == {int, float} else next(iter(types))
        if (len(types) == 1 or kind is float) and kind in (str, int, float, bool):
            found[name] = kind
    return found


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


def _rows(file: Any, path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, with codes (L,) as arrays."""
    number = 0
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
        for row in batch.to_pylist():
            number += 1
            row["codes"] = np.asarray(row["codes"] if row["codes"] is not None else [])
            whole = _stored_fields(row.pop("row", None), f"{path}: row {number}")
            row.pop("num_codes", None)
            # What was changed in a column counts; where it is equal, the field keeps its type.
            changed = {
                name: value
                for name, value in row.items()
                if (value is not None if name not in whole else value != whole[name])
            }
            yield whole | changed
