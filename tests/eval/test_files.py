"""Files that appear whole and lines that survive a kill."""

import math

import pytest

from eval.files import cut_torn_line, json_text, read_json_lines, write_whole


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = write_whole(tmp_path / "a.txt", "old")

    def full_disk(handle):
        raise OSError("No space left on device")

    monkeypatch.setattr("eval.files.os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_torn_last_line_is_left_out_and_cut(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": 1}\n{"id": 2')
    assert read_json_lines(path) == [{"id": 1}]
    cut_torn_line(path)
    assert path.read_text() == '{"id": 1}\n'


@pytest.mark.parametrize("line", ["{broken", "[1]"])
def test_a_broken_line_within_is_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"id": 1}}\n{line}\n{{"id": 3}}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_json_lines(path)


def test_no_file_is_no_lines(tmp_path):
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_json_refuses_nan():
    with pytest.raises(ValueError, match="JSON"):
        json_text({"a": math.nan})
