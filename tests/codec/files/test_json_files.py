"""JSON files: what is written comes back, and what is none is named."""

from __future__ import annotations

import pytest

from codec.files import read_json, write_bytes, write_json
from codec.files.json_lines import read_json_lines


def test_json_comes_back(tmp_path):
    value = {"name": "ü\u2028", "list": [1, 2.5, None, True], "empty": {}}
    path = write_json(tmp_path / "a.json", value)
    assert read_json(path) == value
    assert path.read_text(encoding="utf-8").startswith('{\n  "name": "ü\u2028"')
    assert path.read_bytes().endswith(b"}\n")
    assert write_json(path, [1, {}], indent=None).read_text() == "[1, {}]\n"


def test_a_name_that_is_not_utf_8_survives(tmp_path):
    path = write_json(tmp_path / "a.json", {"audio": "\udcff.wav"})
    assert read_json(path) == {"audio": "\udcff.wav"}


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    assert read_json(write_bytes(tmp_path / "a.json", b"\xef\xbb\xbf{}")) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{\0}\0", b"[" * 100_000])
def test_what_is_not_json_is_named(tmp_path, content):
    path = write_bytes(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON"):
        read_json(path)


def test_a_missing_file_is_told_from_a_broken_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


def test_a_document_of_another_kind_is_named(tmp_path):
    path = write_bytes(tmp_path / "a.json", b'{"seconds": 1}')
    assert read_json(path, required=("seconds",)) == {"seconds": 1}
    with pytest.raises(ValueError, match=r"a\.json: expected a JSON object with seconds, metrics"):
        read_json(path, required=("seconds", "metrics"))
    with pytest.raises(ValueError, match=r"a\.json: expected a JSON object, got \[\]"):
        read_json(write_bytes(path, b"[]"), required=())


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"b": [{"a": 1, "c": 2, "a": 1}]}'])
def test_an_object_with_a_key_twice_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json: .*expected each key once, got 'a' again"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_text("{}\n" + text + "\n")
    with pytest.raises(ValueError, match=r"a\.jsonl:2: .*expected each key once, got 'a' again"):
        read_json_lines(tmp_path / "a.jsonl")
