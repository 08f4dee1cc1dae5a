"""Files named after ids from outside, and walks through folders of data."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from codec.files import files_below
from codec.files.names import (
    check_items,
    check_place,
    data_files,
    is_hidden,
    item_path,
    name_problem,
)


@pytest.mark.parametrize(
    "name",
    [
        *("", "/etc/a", "../a", "a/../../b", "a//b", "a/", ".", "a/.", "a\\b", "a\0b", "\ud800"),
        *("x" * 251, "a/" * 1500 + "a", "é" * 126),
    ],
)
def test_an_id_that_leads_elsewhere_names_no_file(tmp_path: Path, name: str) -> None:
    assert name_problem(name, ".flac")
    with pytest.raises(ValueError, match=r"^expected an id .*, got "):
        item_path(tmp_path, name, ".flac")


@pytest.mark.parametrize(
    "name", ["a", "84_121.0", "small/100/01_a", "a b|c:d", "x" * 250, "ü\u2028"]
)
def test_other_ids_name_a_file_below_the_folder(tmp_path: Path, name: str) -> None:
    path = item_path(tmp_path, name, ".flac")
    assert str(path) == f"{tmp_path}/{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.mark.parametrize(
    "names", [["a", "a"], ["a", "A"], ["stra\u00dfe", "STRASSE"], ["\u00e9", "e\u0301"]]
)
def test_ids_that_share_a_file_on_any_disk_are_refused(names: list[str]) -> None:
    with pytest.raises(ValueError, match="name a file each, got"):
        check_items(iter(names), ".flac")
    check_items(["a", "b", "a/b", "b/a"], ".flac")


def test_what_a_kill_or_another_system_left_is_no_data(tmp_path: Path) -> None:
    for name in ("b.wav", "a/one.WAV", "notes.txt", "._b.wav", ".x1.wav", "a/._one.WAV"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for folder in (".set.1-2-3.partial", "folder.wav", ".cache"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".set.1-2-3.partial" / "c.wav").touch()
    (tmp_path / ".cache" / "d.wav").touch()
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    found = [path.relative_to(tmp_path).as_posix() for path in data_files(tmp_path, (".wav",))]
    assert found == ["a/one.WAV", "b.wav", "gone.wav"]
    assert len(data_files(tmp_path)) == 4


def test_a_folder_that_is_named_may_be_hidden(tmp_path: Path) -> None:
    folder = tmp_path / ".mine"
    folder.mkdir()
    (folder / "a.wav").touch()
    assert data_files(folder) == [folder / "a.wav"]
    assert is_hidden(folder / "a.wav", tmp_path)
    assert not is_hidden(Path("../a.wav"))


def test_files_of_linked_folders_are_found_once_a_way(tmp_path: Path) -> None:
    inside = tmp_path / "corpus" / "a"
    outside = tmp_path / "disk" / "b"
    for folder in (inside, outside):
        folder.mkdir(parents=True)
        (folder / "x.wav").touch()
    (tmp_path / "corpus" / "b").symlink_to(outside)
    (inside / "up").symlink_to(tmp_path / "corpus")
    (outside / "round").symlink_to(outside)
    (inside / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    found = [
        path.relative_to(tmp_path / "corpus").as_posix()
        for path in files_below(tmp_path / "corpus")
    ]
    assert found == ["a/gone.wav", "a/x.wav", "b/x.wav"]


def test_a_place_that_takes_no_files_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_place(tmp_path / "new" / "folder" / "a.wav")
    check_place(tmp_path / "new", is_folder=True)
    check_place(tmp_path / "file")
    check_place("a.wav")
    for path, is_folder in (("file/a.wav", False), ("file/b/a.wav", False), ("file", True)):
        with pytest.raises(ValueError, match=r"folders on the way to it, got the file .*file$"):
            check_place(tmp_path / path, is_folder=is_folder)


def test_a_folder_without_the_right_to_write_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write anywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(PermissionError, match=re.escape(str(tmp_path))):
        check_place(tmp_path / "new" / "a.wav")
