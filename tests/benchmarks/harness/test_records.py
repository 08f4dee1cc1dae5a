import json

import pytest

from benchmarks.harness.records import read_records, write_records


def test_what_is_written_is_read_back(tmp_path, make_record):
    records = {
        "small": make_record({"a/x:y": 2.0}, {"c": 1.0}, skipped={"a/x:z": "no z"}),
        "full": make_record({"a/x:y": 0.25}, suite="full", commit=None),
    }
    path = tmp_path / "results" / "one.json"
    path.parent.mkdir()
    write_records(path, records)
    assert read_records(path) == records
    assert [each.name for each in path.parent.iterdir()] == ["one.json"]


def test_numbers_are_kept_to_five_digits(tmp_path, make_record):
    write_records(tmp_path / "a.json", {"small": make_record({"a/x:y": 1 / 3})})
    stored = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert stored["suites"]["small"]["figures"]["a/x:y"]["ratio"] == 0.33333


def test_a_write_that_fails_leaves_the_old_results(tmp_path, make_record):
    path = tmp_path / "a.json"
    write_records(path, {"small": make_record({"a/x:y": 2.0})})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"suites\.small\.commit"):
        write_records(path, {"small": make_record({}, commit={1, 2})})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"format": "other"}', '{"format": "hh-slm benchmarks 1", "suites": {"a": 1}}'],
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="expected benchmark results"):
        read_records(path)
    with pytest.raises(ValueError, match="expected benchmark results"):
        read_records(tmp_path / "missing.json")
