import json
from pathlib import Path
from typing import Any

import pytest

from slm.cli.batch_file import Job, read_jobs


def written(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "jobs.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return path


def test_lines_are_numbered_and_blank_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"\xef\xbb\xbfa dog\r\n\r\n green hills \r\n")
    assert read_jobs(path) == [Job("00001", "a dog"), Job("00003", "green hills")]


def test_rows_say_what_they_need(tmp_path: Path) -> None:
    rows = [
        {"text": "a\u2028dog", "id": 7, "seed": 3, "voice": None},
        {"text": "b", "prompt": "p.wav", "prompt_text": "c"},
    ]
    assert read_jobs(written(tmp_path, *rows)) == [
        Job("7", "a\u2028dog", seed=3),
        Job("00002", "b", prompt="p.wav", prompt_text="c"),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": 5}, "a string as text, got 5"),
        ({"text": None}, "a string as text, got null"),
        ({"text": " "}, "something to say"),
        ({"id": "a"}, "an object with a text"),
        ({"text": "a", "sed": 1}, "keys of"),
        (["a"], "an object"),
        ({"text": "a", "seed": "x"}, "as seed, got"),
        ({"text": "a", "seed": True}, "as seed, got true"),
        ({"text": "a", "seed": 1.5}, "as seed, got 1.5"),
        ({"text": "a", "seed": 10**20}, "as seed, got 1000"),
        ({"text": "a", "id": None}, "as id, got null"),
        ({"text": "a", "id": "../b"}, "name one file each"),
        ({"text": "a", "voice": ["ann"]}, "a string as voice"),
        ({"text": "a", "prompt_text": "b"}, "got no prompt"),
        ({"text": "a", "prompt": "p.wav", "voice": "ann"}, "got both"),
    ],
)
def test_a_row_that_is_not_understood_is_named(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_jobs(written(tmp_path, row))


def test_files_that_are_no_texts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("na\u00efve".encode("latin-1"))
    with pytest.raises(ValueError, match=r"expected UTF-8 text in .*texts\.txt"):
        read_jobs(path)
    path.write_text("\n\n")
    with pytest.raises(ValueError, match="expected texts in"):
        read_jobs(path)
    with pytest.raises(ValueError, match="name one file each, got 'a'"):
        read_jobs(written(tmp_path, {"id": "a", "text": "b"}, {"id": "a", "text": "c"}))
