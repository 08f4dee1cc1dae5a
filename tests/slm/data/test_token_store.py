import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.files import whole_file
from slm.data.token_store import TokenStore, TokenStoreWriter


def open_writer(folder: Path, **options: Any) -> TokenStoreWriter:
    identity = {"codec_fingerprint": "one", "codebook_size": 8192, "frame_rate": 23.4375}
    return TokenStoreWriter(folder, **{**identity, "shard_codes": 10, **options})


def codes_of(item: int) -> np.ndarray:
    return (np.arange(4 + item % 3) * 1000 + item) % 8192


def test_items_come_back_as_they_were_added(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for item in range(7):
        writer.add(codes_of(item), {"id": f"u{item}", "text": f"tëxt {item}"})
    writer.close()
    store = TokenStore(tmp_path, "one")
    assert len(store) == 7
    assert store.num_codes == sum(len(codes_of(item)) for item in range(7))
    assert len(list(tmp_path.glob("*.u16"))) > 1
    for item in range(7):
        assert store.rows[item] == {
            "id": f"u{item}",
            "text": f"tëxt {item}",
            "num_codes": len(codes_of(item)),
        }
        assert store.codes(item).dtype == np.uint16
        np.testing.assert_array_equal(store.codes(item), codes_of(item))


def test_a_killed_writer_continues_after_its_last_whole_shard(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    for item in range(6):  # 4 + 5 + 6 codes fill a shard
        writer.add(codes_of(item), {"id": f"u{item}"})
    writer.add(codes_of(6), {"id": "u6"})
    del writer  # u6 was in no shard yet
    (tmp_path / "codes-00002.u16").write_bytes(b"x")  # codes of a shard that never got its rows
    again = open_writer(tmp_path)
    assert again.done_ids == {f"u{item}" for item in range(6)}
    with pytest.raises(ValueError, match=r"no store\.json"):
        TokenStore(tmp_path)
    for item in range(6, 8):
        again.add(codes_of(item), {"id": f"u{item}"})
    again.close()
    store = TokenStore(tmp_path)
    assert [row["id"] for row in store.rows] == [f"u{item}" for item in range(8)]
    for item in range(8):
        np.testing.assert_array_equal(store.codes(item), codes_of(item))


def test_codes_of_another_codec_are_refused_with_both_names(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.add(codes_of(0), {"id": "u0"})
    writer.close()
    with pytest.raises(ValueError, match=r"codec one, expected codec two; encode .* again"):
        TokenStore(tmp_path, "two")
    with pytest.raises(ValueError, match=r"codec one, expected codec two"):
        open_writer(tmp_path, codec_fingerprint="two")
    with pytest.raises(ValueError, match="was begun as"):
        open_writer(tmp_path, codebook_size=64)


def test_a_store_is_read_and_continued_under_any_name_of_its_codec(tmp_path: Path) -> None:
    """Stores were once named after all of a codec; what decides on codes is less than that."""
    writer = open_writer(tmp_path, codec_fingerprint="whole", shard_codes=1)
    writer.add(codes_of(0), {"id": "u0"})
    writer = open_writer(tmp_path, codec_fingerprint=("codes", "whole"), shard_codes=1)
    assert writer.done_ids == {"u0"}
    writer.add(codes_of(1), {"id": "u1"})
    writer.close()
    for names in ("whole", ("codes", "whole")):
        store = TokenStore(tmp_path, names)
        assert (store.codec_fingerprint, len(store)) == ("whole", 2)
    with pytest.raises(ValueError, match="codec whole, expected codec codes"):
        TokenStore(tmp_path, ("codes", "another"))


@pytest.mark.parametrize("failing", ["u16", "offsets.npy", "rows.jsonl"])
def test_a_full_disk_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    @contextmanager
    def until_full(path: Path) -> Iterator[Path]:
        with whole_file(path) as partial:
            if path.name.endswith(failing):
                partial.write_bytes(b"half of it")
                raise OSError(errno.ENOSPC, "No space left on device")
            yield partial

    writer = open_writer(tmp_path)
    for module in ("slm.data.shards", "codec.files.json_lines"):
        monkeypatch.setattr(f"{module}.whole_file", until_full)
    writer.add(codes_of(0), {"id": "u0"})
    writer.add(codes_of(1), {"id": "u1"})
    with pytest.raises(OSError, match="No space"):
        writer.add(codes_of(2), {"id": "u2"})
    assert not list(tmp_path.glob("*partial*"))
    assert not (tmp_path / "codes-00000.rows.jsonl").exists()
    assert not (tmp_path / f"codes-00000.{failing}").exists()
    monkeypatch.undo()
    again = open_writer(tmp_path)
    assert again.done_ids == set()
    for item in range(3):
        again.add(codes_of(item), {"id": f"u{item}"})
    again.close()
    assert len(TokenStore(tmp_path)) == 3


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.add(codes_of(0), {"id": "u0"})
    writer.close()
    path = tmp_path / "codes-00000.u16"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match="3 codes; encode it again"):
        TokenStore(tmp_path)


def test_items_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    writer.add(codes_of(0), {"id": "u0"})
    for codes, row, message in (
        (np.array([8192]), {"id": "a"}, r"\[0, 8192\)"),
        (np.array([-1]), {"id": "a"}, r"\[0, 8192\)"),
        (np.zeros(0, int), {"id": "a"}, "L >= 1"),
        (np.zeros(3), {"id": "a"}, "integer codes"),
        (codes_of(1), {"id": "u0"}, "used once"),
        (codes_of(1), {}, "string `id`"),
        (codes_of(1), {"id": "a", "text": {1, 2}}, "JSON-able"),
    ):
        with pytest.raises(ValueError, match=message):
            writer.add(codes, row)
    with pytest.raises(ValueError, match="at least one item"):
        open_writer(tmp_path / "empty").close()


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    writer = open_writer(tmp_path)
    writer.add(codes_of(0), {"id": "u0"})
    writer.add(codes_of(0), {"id": "u1"})
    writer.close()
    return tmp_path


@pytest.mark.parametrize(
    "offsets",
    [
        np.array([0, 9, 8]),
        np.array([4, 4, 8]),
        np.array([0, -4, 8]),
        np.array([0, 0, 8]),
        np.array([0.0, 4.5, 8.0]),
        np.zeros((3, 2), dtype=np.int64),
        np.array(8),
    ],
)
def test_offsets_that_do_not_part_the_codes_are_refused(stored: Path, offsets: np.ndarray) -> None:
    np.save(stored / "codes-00000.offsets.npy", offsets)
    with pytest.raises(ValueError, match=r"expected offsets of 2 items and 8 codes in .*offsets"):
        TokenStore(stored).codes(0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("codec_fingerprint", None),
        ("codebook_size", "8192"),
        ("codebook_size", 0),
        ("codebook_size", True),
        ("frame_rate", 0),
        ("frame_rate", float("nan")),
        ("shards", None),
        ("shards", [3]),
        ("shards", [{"items": -2, "codes": 8}]),
        ("shards", [{"items": "2", "codes": 8}]),
        ("shards", [{"items": 2}]),
    ],
)
def test_a_header_of_another_form_is_refused_by_its_field(
    stored: Path, field: str, value: object
) -> None:
    path = stored / "store.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(ValueError, match=rf"store\.json: {field}.*: expected"):
        TokenStore(stored)
