"""Manifests: their rows, and what is refused by line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.corpora.manifest import ManifestError, assign_splits, read_manifest, write_manifest

RECORD = {
    "id": "a",
    "audio": "audio/a.wav",
    "duration": 1.5,
    "text": "",
    "speaker": "s",
    "lang": "en",
    "split": "train",
}


def write_lines(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_row_keeps_its_fields_and_carries_the_others(tmp_path: Path) -> None:
    record = {**RECORD, "gender": "f", "has_text": False, "age": None}
    (row,) = read_manifest(write_lines(tmp_path, json.dumps(record), ""))
    assert (row.id, row.duration, row.speaker, row.lang) == ("a", 1.5, "s", "en")
    assert row.audio == tmp_path / "audio" / "a.wav"
    assert row.extra == {"gender": "f", "has_text": False, "age": None}


def test_a_manifest_is_written_as_it_was_read(tmp_path: Path) -> None:
    records = [{**RECORD, "gender": "f"}, {**RECORD, "id": "ü", "text": "naïve"}]
    rows = read_manifest(write_lines(tmp_path, *(json.dumps(record) for record in records)))
    write_manifest(tmp_path / "manifest.jsonl", rows)
    assert read_manifest(tmp_path / "manifest.jsonl") == rows


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"id": 5}, "id: expected a string, got 5"),
        ({"text": "\ud800"}, "text: expected a text that UTF-8 can hold"),
        ({"audio": "a\0.wav"}, "audio: expected a path without NUL"),
        ({"snr": float("nan")}, "snr: expected a finite number, got nan"),
        ({"mos": {"ovrl": [1.0, float("inf")]}}, "mos.ovrl[1]: expected a finite number"),
        ({"id": ""}, "id: expected a string that is not empty"),
        ({"audio": None}, "audio: expected a string, got None"),
        ({"text": ["a"]}, "text: expected a string"),
        ({"duration": "1.5"}, "duration: expected seconds > 0, got '1.5'"),
        ({"duration": 0}, "duration: expected seconds > 0, got 0"),
        ({"duration": float("nan")}, "duration: expected seconds > 0, got nan"),
        ({"duration": True}, "duration: expected seconds > 0, got True"),
        ({"split": "dev"}, "split: expected one of train, valid, test, got 'dev'"),
        ({"id": "a"}, "id: 'a' stands on line 1 already"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(
    tmp_path: Path, change: dict[str, Any], part: str
) -> None:
    second = {**RECORD, "id": "b", **change}
    path = write_lines(tmp_path, json.dumps(RECORD), json.dumps(second))
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert f"{path}:2: {part}" in str(caught.value)


@pytest.mark.parametrize("name", ["id", "audio", "text", "speaker", "lang"])
def test_a_missing_field_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    record = {key: value for key, value in RECORD.items() if key != name}
    path = write_lines(tmp_path, "", json.dumps(record))
    with pytest.raises(ManifestError, match=rf":2: {name}: .*the field is missing"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (["{oops"], ":1: not valid JSON"),
        (["[1]"], ":1: expected a JSON object, got list"),
        ([], "empty manifest"),
    ],
)
def test_a_broken_manifest_is_named(tmp_path: Path, lines: list[str], part: str) -> None:
    with pytest.raises(ManifestError, match=part):
        read_manifest(write_lines(tmp_path, *lines))


def test_splits_on_some_lines_only_are_refused(tmp_path: Path) -> None:
    without = {key: value for key, value in RECORD.items() if key != "split"} | {"id": "b"}
    path = write_lines(tmp_path, json.dumps(RECORD), json.dumps(without))
    with pytest.raises(ManifestError, match=":2: split: missing here"):
        read_manifest(path)


def test_a_corpus_without_splits_gets_them_by_share_and_seed(tmp_path: Path) -> None:
    record = {key: value for key, value in RECORD.items() if key != "split"}
    lines = [json.dumps({**record, "id": f"clip{index}"}) for index in range(2000)]
    rows = read_manifest(write_lines(tmp_path, *lines))

    def splits(count: int, seed: int) -> list[str]:
        chosen = assign_splits(rows[:count], valid_fraction=0.1, test_fraction=0.2, seed=seed)
        return [row.split for row in chosen]

    first = splits(2000, seed=0)
    assert first.count("valid") == pytest.approx(200, abs=45)
    assert first.count("test") == pytest.approx(400, abs=60)
    assert splits(100, seed=0) == first[:100]
    assert splits(2000, seed=1) != first


def test_audio_outside_the_manifests_folder_is_named_absolutely(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (row,) = read_manifest(write_lines(tmp_path, json.dumps(RECORD)))
    write_manifest(tmp_path / "corpus" / "manifest.jsonl", [row])
    assert read_manifest(tmp_path / "corpus" / "manifest.jsonl") == [row]


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "../../a"},
        {"id": "/tmp/a"},
        {"id": "a/"},
        {"id": "x" * 300},
        {"id": "a\0b"},
        {"id": "\ud800"},
        {"duration": 10**400},
    ],
)
def test_an_id_that_names_no_file_of_its_own_is_refused(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    record = {
        "id": "a",
        "audio": "a.wav",
        "duration": 1.0,
        "text": "",
        "speaker": "s",
        "lang": "en",
    }
    path = write_lines(tmp_path, json.dumps({**record, **wrong}))
    (name,) = wrong
    with pytest.raises(ManifestError, match=f":1: {name}: expected "):
        read_manifest(path)
    again = [json.dumps({**record, "id": name}) for name in ("stra\u00dfe", "STRASSE")]
    with pytest.raises(ManifestError, match=r":2: id: .* on line 1 already"):
        read_manifest(write_lines(tmp_path, *again))
