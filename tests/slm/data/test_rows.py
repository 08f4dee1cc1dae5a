from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slm.data.shards import ShardWriter
from slm.data.token_rows import Rows
from slm.data.token_store import TokenStore

SHARDS = (3, 0, 2, 1)  # items of each: one had nothing but bad recordings


def expected(item: int) -> dict[str, Any]:
    return {"id": f"u{item}", "text": "ü\u2028\n" * (item % 3), "num_codes": 2 + item}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    identity: dict[str, Any] = {"codebook_size": 64, "frame_rate": 24.0}
    writer = ShardWriter(tmp_path, codec_fingerprint="c", **identity)
    item = 0
    for index, count in enumerate(SHARDS):
        rows = [expected(item + place) for place in range(count)]
        writer.write(index, [np.full(row["num_codes"], row["num_codes"]) for row in rows], rows)
        item += count
    writer.close(len(SHARDS))
    return tmp_path


def test_rows_are_read_by_number_by_slice_and_in_order(folder: Path) -> None:
    rows = TokenStore(folder).rows
    everything = [expected(item) for item in range(6)]
    assert list(rows) == everything
    assert [rows[item] for item in (5, 0, 3, 2)] == [everything[item] for item in (5, 0, 3, 2)]
    assert rows[-1] == everything[-1]
    assert rows[1:4] == everything[1:4]
    assert rows[::-2] == everything[::-2]
    assert len(rows) == 6
    for wrong in (6, -7):
        with pytest.raises(IndexError, match=rf"\[0, 6\), got {wrong}"):
            rows[wrong]


def test_codes_and_lengths_are_those_of_the_rows(folder: Path) -> None:
    store = TokenStore(folder)
    assert store.lengths.tolist() == [row["num_codes"] for row in store.rows]
    assert store.lengths.dtype == np.int32
    for item in (4, 0, -1):
        codes = store.codes(item)
        assert codes.tolist() == [store.rows[item]["num_codes"]] * len(codes)
        assert len(codes) == store.lengths[item]


def test_what_was_read_can_be_changed_without_changing_the_store(folder: Path) -> None:
    rows = TokenStore(folder).rows
    rows[0]["text"] = "another"
    assert rows[0] == expected(0)


def test_opening_reads_no_row_and_no_offset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("read too early")

    monkeypatch.setattr(Rows, "_starts_of", never)
    monkeypatch.setattr(TokenStore, "_offsets", never)
    store = TokenStore(folder)
    assert (len(store), store.num_codes) == (6, sum(range(2, 8)))


@pytest.mark.parametrize("read", [list, lambda rows: rows[0]])
def test_lost_lines_are_named(folder: Path, read: Any) -> None:
    path = folder / "codes-00000.rows.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match=r"expected 3 rows in .*codes-00000\.rows\.jsonl, got 2"):
        read(TokenStore(folder).rows)


def test_a_line_that_was_cut_off_is_named(folder: Path) -> None:
    path = folder / "codes-00002.rows.jsonl"
    path.write_bytes(path.read_bytes()[:-5] + b"\n")
    for read in (list, lambda rows: rows[4]):
        with pytest.raises(ValueError, match=r"codes-00002\.rows\.jsonl.* JSON"):
            read(TokenStore(folder).rows)


def test_lost_offsets_and_files_are_named(folder: Path) -> None:
    path = folder / "codes-00002.offsets.npy"
    np.save(path, np.load(path)[:-1])
    store = TokenStore(folder)
    assert store.codes(0).tolist() == [2, 2]
    with pytest.raises(ValueError, match=r"2 items and 11 codes in .*, got 1 items and 5 codes"):
        store.codes(3)
    path.unlink()
    with pytest.raises(ValueError, match=r"\['codes-00002\.offsets\.npy'\] in .*, found none"):
        TokenStore(folder)


def test_shards_are_let_go_of_and_mapped_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slm.data.token_store._MAPPED_SHARDS", 1)
    store = TokenStore(folder)
    for item in (0, 5, 3, 1, 5):
        assert store.codes(item).tolist() == [2 + item] * (2 + item)
