"""Shards come in any order, and are vouched for by their checksums."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slm.data.shards import ShardWriter, check_store
from slm.data.token_store import TokenStore


def open_writer(folder: Path, **options: Any) -> ShardWriter:
    identity = {"codec_fingerprint": "one", "codebook_size": 99, "frame_rate": 24.0}
    return ShardWriter(folder, **{**identity, **options})


def write(writer: ShardWriter, index: int, items: range, **about: Any) -> None:
    codes = [np.full(1 + item, item) for item in items]
    writer.write(index, codes, [{"id": f"u{item}"} for item in items], **about)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_order_of_writing_leaves_no_trace(tmp_path: Path) -> None:
    parts = {0: range(0, 3), 1: range(3, 4), 2: range(4, 9)}
    for name, order in (("forth", (0, 1, 2)), ("back", (2, 1, 0)), ("twice", (1, 0, 2, 1))):
        writer = open_writer(tmp_path / name)
        for index in order:
            write(writer, index, parts[index], plan=str(index))
        writer.close(3)
        check_store(tmp_path / name)
        store = TokenStore(tmp_path / name)
        assert [row["id"] for row in store.rows] == [f"u{item}" for item in range(9)]
        assert [len(store.codes(item)) for item in range(9)] == list(range(1, 10))
    assert bytes_of(tmp_path / "forth") == bytes_of(tmp_path / "back")
    assert bytes_of(tmp_path / "forth") == bytes_of(tmp_path / "twice")


def test_a_shard_is_done_when_it_is_whole_of_that_plan_and_lacks_nothing(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    assert not writer.is_done(0, "a")
    write(writer, 0, range(3), plan="a")
    assert writer.is_done(0, "a")
    assert not writer.is_done(0, "b")
    write(writer, 0, range(2), plan="a", bad=[{"id": "u2", "reason": "not audio"}])
    assert not writer.is_done(0, "a")


@pytest.mark.parametrize("part", ["u16", "offsets.npy", "rows.jsonl"])
def test_a_changed_or_missing_file_is_found(tmp_path: Path, part: str) -> None:
    writer = open_writer(tmp_path)
    write(writer, 0, range(3), plan="a")
    writer.close(1)
    check_store(tmp_path)
    path = tmp_path / f"codes-00000.{part}"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for _ in range(2):
        assert not writer.is_done(0, "a")
        with pytest.raises(ValueError, match=f"others or none: codes-00000.{part}; encode"):
            check_store(tmp_path)
        path.unlink(missing_ok=True)


def test_a_shard_cut_off_before_its_marker_is_not_there(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    write(writer, 0, range(3), plan="a")
    (tmp_path / "codes-00000.done.json").unlink()
    assert not writer.is_done(0, "a")
    with pytest.raises(ValueError, match="shards 0 to 0, 0 is missing"):
        writer.close(1)


def test_a_shard_without_items_is_passed_over(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    write(writer, 0, range(2))
    writer.write(1, [], [], bad=[{"id": "u2", "reason": "not audio"}])
    write(writer, 2, range(3, 4))
    writer.close(3)
    store = TokenStore(tmp_path)
    assert [row["id"] for row in store.rows] == ["u0", "u1", "u3"]
    assert store.codes(2).tolist() == [3, 3, 3, 3]
    marker = json.loads((tmp_path / "codes-00001.done.json").read_text(encoding="utf-8"))
    assert marker["bad"] == [{"id": "u2", "reason": "not audio"}]
    empty = open_writer(tmp_path / "empty")
    empty.write(0, [], [])
    with pytest.raises(ValueError, match="at least one item"):
        empty.close(1)


def test_codes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    with pytest.raises(ValueError, match=r"\[0, 99\) for 'a', got \[99, 99\]"):
        writer.write(0, [np.array([99])], [{"id": "a"}])
    assert not list(tmp_path.glob("codes-*"))
