"""JSON lines that survive a kill and any text, and text tables."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest

from codec.files.json_lines import (
    append_json_line,
    appending,
    cut_torn_line,
    iter_json_lines,
    keep_json_lines,
    read_json_lines,
    read_lines,
    write_json_lines,
)
from tests.support.refusing_disks import full_disk, needs_limits

ROWS = [{"id": 1, "text": "a\u2028b\u2029c\u0085d\x0b\x0c"}, {"id": 2, "text": 'ü "\n"'}]


class ManifestError(ValueError):
    """A class of a caller's."""


def test_rows_come_back_whatever_their_text(tmp_path):
    path = write_json_lines(tmp_path / "new" / "a.jsonl", iter(ROWS))
    assert read_json_lines(path) == ROWS
    assert path.read_bytes().count(b"\n") == 2
    assert "ü" in path.read_text(encoding="utf-8")


def test_lines_are_numbered_with_the_blank_ones(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\n{"id": 1}\r\n  \n{"id": 2}')
    assert list(iter_json_lines(path)) == [(2, {"id": 1}), (4, {"id": 2})]


def test_an_empty_file_has_no_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    path.touch()
    assert read_json_lines(path) == []
    assert read_json_lines(tmp_path / "none.jsonl", missing_ok=True) == []
    with pytest.raises(FileNotFoundError):
        read_json_lines(tmp_path / "none.jsonl")


@pytest.mark.parametrize("torn", [b'{"id": 2', b'{"id": 2}', b'{"id": "\xc3'])
def test_what_a_killed_writer_left_is_dropped_where_that_is_asked_for(tmp_path, torn):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1}\n' + torn)
    assert read_json_lines(path, torn="drop") == [{"id": 1}]
    cut_torn_line(path)
    assert path.read_bytes() == b'{"id": 1}\n'


@pytest.mark.parametrize("torn", [b'{"id": 2', b'{"id": "\xc3'])
def test_a_torn_line_is_an_error_otherwise(tmp_path, torn):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1}\n' + torn)
    with pytest.raises(ValueError, match=r"a\.jsonl:2: "):
        read_json_lines(path)


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b"{oops", ":2: not valid JSON .*expected an object"),
        (b"[1]", ":2: expected a JSON object, got list"),
        (b"[" * 100_000, ":2: not valid JSON"),
        (b"\xff", ":2: expected UTF-8"),
        (b'{"text": "x"}', ":2: expected an object with id, text, got one without id"),
    ],
)
def test_a_wrong_line_is_named_by_the_error_of_the_caller(tmp_path, line, part):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1, "text": ""}\n' + line + b'\n{"id": 3, "text": ""}\n')
    with pytest.raises(ManifestError, match=rf"a\.jsonl{part}"):
        read_json_lines(path, torn="drop", required=("id", "text"), error=ManifestError)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_told(tmp_path, encoding):
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"id": 1}\n'.encode(encoding))
    for read in (read_json_lines, lambda path: list(read_lines(path))):
        with pytest.raises(ValueError, match=r"a\.jsonl: expected UTF-8, got UTF-16"):
            read(path)


def test_rows_that_json_cannot_hold_leave_the_old_file(tmp_path):
    path = write_json_lines(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(ValueError, match=r"a\.jsonl:2: loss: expected .* got nan"):
        write_json_lines(path, [{"loss": 1.0}, {"loss": math.nan}])
    assert read_json_lines(path) == ROWS
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_run_that_was_cut_off_goes_on_after_its_last_whole_line(tmp_path):
    path = tmp_path / "new" / "a.jsonl"
    with appending(path) as append:
        append(ROWS[0])
        assert read_json_lines(path) == ROWS[:1]
    with path.open("ab") as file:
        file.write(b'{"id"')
    with appending(path) as append:
        append(ROWS[1])
        with pytest.raises(ValueError, match="loss: expected"):
            append({"loss": math.nan})
    assert read_json_lines(path) == ROWS


@pytest.mark.parametrize("size", [0, 5, 65_535, 65_536, 65_537, 200_000])
def test_a_torn_line_of_any_length_is_cut(tmp_path, size):
    path = tmp_path / "a.jsonl"
    for whole in (b"", b"x" * 70_000 + b"\n", b"\n"):
        path.write_bytes(whole + b"y" * size)
        cut_torn_line(path)
        assert path.read_bytes() == whole
    cut_torn_line(tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_lines_of_several_writers_do_not_mix(tmp_path):
    path = tmp_path / "new" / "a.jsonl"

    def write(writer: int) -> None:
        for number in range(50):
            append_json_line(path, {"writer": writer, "number": number, "text": "x" * 5000})

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = read_json_lines(path)
    assert len(rows) == 200
    for writer in range(4):
        assert [row["number"] for row in rows if row["writer"] == writer] == list(range(50))


def test_rows_are_dropped_and_the_others_stay_to_the_byte(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"step":  1}\n{"step": 3}\n\n{"step": 2, "x": NaN}\n{"step": 1')
    keep_json_lines(path, lambda row: row["step"] <= 2)
    assert path.read_bytes() == b'{"step":  1}\n\n{"step": 2, "x": NaN}\n'
    keep_json_lines(tmp_path / "none.jsonl", lambda row: True)
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_lines_of_a_table_are_cut_at_line_feeds_alone(tmp_path):
    path = tmp_path / "wav.scp"
    path.write_bytes("\ufeffa one\u0085two\r\n\nb\tthree\x1cfour".encode())
    assert list(read_lines(path)) == [(1, "a one\u0085two"), (2, ""), (3, "b\tthree\x1cfour")]


def test_a_line_of_a_table_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"a\nb \xe9\n")
    with pytest.raises(ManifestError, match="text:2: expected UTF-8"):
        list(read_lines(path, error=ManifestError))


@pytest.mark.parametrize("last", [b'{"id": 2}', b'{"id": 2}\r', b'{"id": 2}\n'])
def test_a_last_line_without_its_end_is_kept_where_it_is_whole(tmp_path, last):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 1}\n' + last)
    assert read_json_lines(path, torn="keep whole") == [{"id": 1}, {"id": 2}]
    for torn in (b'{"id": {"a": 2}', b'{"id": "\xc3', b"2"):
        path.write_bytes(b'{"id": 1}\n' + torn)
        assert read_json_lines(path, torn="keep whole") == [{"id": 1}]


@needs_limits
def test_a_row_that_a_full_disk_cuts_is_no_part_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    append_json_line(path, {"id": "a"})
    size = path.stat().st_size
    for room in (1, 5, 0):
        with full_disk(size + room), pytest.raises(OSError, match=r"No space|too large"):
            append_json_line(path, {"id": "b", "text": "of some length"})
        assert path.stat().st_size == size
    append_json_line(path, {"id": "c"})
    assert [row["id"] for row in read_json_lines(path)] == ["a", "c"]
