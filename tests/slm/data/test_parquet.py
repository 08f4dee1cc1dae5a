from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="Parquet needs it")

import pyarrow as pa
import pyarrow.parquet as pq

from slm.cli.main import main
from slm.data.parquet import export_parquet, import_parquet
from slm.data.token_store import TokenStore, TokenStoreWriter

CODEC: dict[str, Any] = {"codec_fingerprint": "0" * 16, "codebook_size": 8192, "frame_rate": 23.4}
ITEMS: list[tuple[list[int], dict[str, Any]]] = [
    ([1, 2, 8191], {"id": "a", "text": "One\u2028two", "speaker": "ann", "duration": 1}),
    ([5], {"id": "b", "text": "Three", "speaker": None, "duration": 0.5, "tags": ["x", 1]}),
    ([7, 7], {"id": "c", "speaker": "ben", "mixed": 3}),
    ([9], {"id": "d", "mixed": "three", "loud": True}),
]


def write(folder: Path, items: list[tuple[list[int], dict[str, Any]]], **codec: Any) -> TokenStore:
    writer = TokenStoreWriter(folder, **{**CODEC, **codec}, shard_codes=4)
    for codes, row in items:
        writer.add(np.array(codes), row)
    writer.close()
    return TokenStore(folder)


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    return write(tmp_path / "store", ITEMS)


def test_a_store_comes_back_as_it_was(store: TokenStore, tmp_path: Path) -> None:
    assert export_parquet(store, tmp_path / "a.parquet", rows=3) == 4
    assert import_parquet(tmp_path / "a.parquet", tmp_path / "again", shard_codes=4) == 4
    files = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()} == files


def test_columns_hold_what_others_look_for(store: TokenStore, tmp_path: Path) -> None:
    export_parquet(store, tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert table["codes"] == [codes for codes, _ in ITEMS]
    assert table["num_codes"] == [3, 1, 2, 1]
    assert table["text"] == ["One\u2028two", "Three", None, None]
    assert table["duration"] == [1.0, 0.5, None, None]
    assert table["loud"] == [None, None, None, True]
    assert table["codec_fingerprint"] == ["0" * 16] * 4
    assert "mixed" not in table
    assert "tags" not in table
    assert json.loads(table["row"][1])["tags"] == ["x", 1]


def test_a_table_of_another_program_becomes_a_store(tmp_path: Path) -> None:
    rows = [
        {"id": "x", "codes": [3, 4], "text": "Hello.", "speaker": "ann", **CODEC},
        {"id": "y", "codes": [5], "text": None, "speaker": None, **CODEC},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    import_parquet(tmp_path / "a.parquet", tmp_path / "store")
    store = TokenStore(tmp_path / "store", CODEC["codec_fingerprint"])
    assert [store.codes(n).tolist() for n in range(2)] == [[3, 4], [5]]
    assert store.rows[0] == {"id": "x", "text": "Hello.", "speaker": "ann", "num_codes": 2}
    assert store.rows[1] == {"id": "y", "num_codes": 1}


def test_a_column_that_was_changed_counts(store: TokenStore, tmp_path: Path) -> None:
    export_parquet(store, tmp_path / "a.parquet")
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    rows[0] |= {"text": "Four", "speaker": None}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    import_parquet(tmp_path / "b.parquet", tmp_path / "again")
    found = TokenStore(tmp_path / "again").rows
    assert found[0] == {**store.rows[0], "text": "Four", "speaker": None}
    assert found[1:] == store.rows[1:]


def test_datasets_reads_the_file_and_what_it_filters_comes_back(
    store: TokenStore, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets", reason="shown in the guide, not needed")
    export_parquet(store, tmp_path / "a.parquet")
    cache = str(tmp_path / "cache")
    data = datasets.Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=cache)
    assert data[0]["codes"] == [1, 2, 8191]
    kept = data.filter(lambda row: row["speaker"] == "ben", load_from_cache_file=False)
    kept.to_parquet(tmp_path / "b.parquet")
    assert import_parquet(tmp_path / "b.parquet", tmp_path / "kept") == 1
    assert TokenStore(tmp_path / "kept").rows[0] == store.rows[2]


def table(**columns: Any) -> pa.Table:
    whole = {"id": ["a"], "codes": [[1]], **{name: [value] for name, value in CODEC.items()}}
    given = {name: value for name, value in {**whole, **columns}.items() if value is not None}
    # Made here: the first array loads pandas, which every process that collects tests would keep.
    texts = {name: pa.array(value, pa.string()) for name, value in given.items() if value == [None]}
    return pa.table({**given, **texts})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"codes": None}, "expected the columns codes, found none"),
        ({"codec_fingerprint": None}, "expected the columns codec_fingerprint"),
        ({"codes": [[8192]]}, "codes in .*8192"),
        ({"codes": [[0.5]]}, "integer codes"),
        ({"codes": [[]]}, "integer codes"),
        ({"id": [""]}, "non-empty string"),
        ({"id": [None]}, "row 1: expected id, got none"),
        ({"codec_fingerprint": [None]}, "expected codec_fingerprint, got"),
        ({"codebook_size": [100.5]}, "row 1: codebook_size: expected a whole number"),
        ({"row": ["{"]}, "row 1: expected JSON in the column row"),
        ({"row": ["[1]"]}, "row 1: expected an object in the column row"),
    ],
)
def test_tables_that_are_no_store_are_refused(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    pq.write_table(table(**columns), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=message):
        import_parquet(tmp_path / "a.parquet", tmp_path / "store")


def test_codes_of_two_codecs_are_no_store(store: TokenStore, tmp_path: Path) -> None:
    export_parquet(store, tmp_path / "a.parquet")
    other = write(tmp_path / "other", [([1], {"id": "z"})], codec_fingerprint="1" * 16)
    export_parquet(other, tmp_path / "b.parquet")
    names = ("id", "codes", *CODEC)
    both = [pq.read_table(tmp_path / f"{name}.parquet", columns=list(names)) for name in "ab"]
    pq.write_table(pa.concat_tables(both), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="codes of one codec"):
        import_parquet(tmp_path / "c.parquet", tmp_path / "both")


def test_the_command_line_exports_and_imports(
    store: TokenStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "a.parquet")
    assert main(["export-tokens", str(store.folder), path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_codes"] == 7
    assert main(["import-tokens", path, str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_items"] == 4
    for argv, message in (
        (
            ("export-tokens", str(store.folder), "a.csv"),
            "a.csv: expected a name ending in .parquet",
        ),
        (("export-tokens", str(tmp_path), path), "expected a finished token store"),
        (("import-tokens", str(tmp_path / "none"), "x"), "expected a Parquet file at"),
        (("import-tokens", str(store.folder / "store.json"), "x"), "expected a Parquet file of a"),
    ):
        assert main(list(argv)) == 2
        assert message in capsys.readouterr().err


def test_what_no_column_can_hold_comes_back_by_the_row(tmp_path: Path) -> None:
    items = [
        ([1], {"id": "a", "n": 2**70, "x": 10**400, "text": "x\ud800", "codes": [1, 2]}),
        ([2], {"id": "b", "n": 1, "x": 1.5, "text": "y", "frame_rate": 5, "row": "z"}),
        ([3], {"id": "c", "n": 0.5, "y": "three"}),
        ([4], {"id": "d", "y": 0.5}),
    ]
    store = write(tmp_path / "store", items)
    export_parquet(store, tmp_path / "a.parquet")
    assert not {"n", "x", "y", "text"} & set(pq.read_table(tmp_path / "a.parquet").column_names)
    import_parquet(tmp_path / "a.parquet", tmp_path / "again")
    assert list(TokenStore(tmp_path / "again").rows) == list(store.rows)


def test_an_id_that_stands_twice_is_refused_however_far_apart(tmp_path: Path) -> None:
    columns = {"id": ["a", "b", "a"], "codes": [[1] * 9, [2] * 9, [3] * 9]}
    pq.write_table(
        pa.table({**columns, **{name: [value] * 3 for name, value in CODEC.items()}}),
        tmp_path / "a.parquet",
    )
    with pytest.raises(ValueError, match="used once, got 'a'"):
        import_parquet(tmp_path / "a.parquet", tmp_path / "store", shard_codes=4)


def test_a_store_of_another_file_is_neither_kept_nor_mixed(tmp_path: Path) -> None:
    first = write(tmp_path / "one", [([1] * 9, {"id": "a"}), ([2] * 9, {"id": "b"})])
    export_parquet(first, tmp_path / "one.parquet")
    import_parquet(tmp_path / "one.parquet", tmp_path / "store")
    before = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    others: list[list[tuple[list[int], dict[str, Any]]]] = [
        [([1] * 9, {"id": "a"}), ([3] * 9, {"id": "b"})],
        [([1] * 9, {"id": "a"}), ([2] * 9, {"id": "b", "text": "corrected"})],
        [([1] * 9, {"id": "c"})],
        [([1] * 9, {"id": "a"})],
        # A finished store does not grow.
        [([1] * 9, {"id": "a"}), ([2] * 9, {"id": "b"}), ([3] * 9, {"id": "c"})],
    ]
    for number, items in enumerate(others):
        export_parquet(write(tmp_path / f"s{number}", items), tmp_path / f"{number}.parquet")
        with pytest.raises(ValueError, match="expected a new folder"):
            import_parquet(tmp_path / f"{number}.parquet", tmp_path / "store")
    assert import_parquet(tmp_path / "one.parquet", tmp_path / "store") == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()} == before


def test_codes_of_other_shapes_are_named_by_their_row(tmp_path: Path) -> None:
    columns = {"id": ["a"], "codes": [[[1, 2], [3]]]}
    pq.write_table(
        pa.table({**columns, **{name: [value] for name, value in CODEC.items()}}),
        tmp_path / "a.parquet",
    )
    with pytest.raises(ValueError, match="row 1: expected a list of codes"):
        import_parquet(tmp_path / "a.parquet", tmp_path / "store")
