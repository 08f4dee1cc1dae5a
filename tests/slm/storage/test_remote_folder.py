"""Indexes of folders in storage that name what is outside of the folder, or have another form."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from slm.storage.sync import StorageError, pull, push


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where a folder with `a.txt` was pushed to; an index is read alike from every storage."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.txt").write_text("a")
    pushed = f"memory://{tmp_path.name}"
    push(tmp_path / "a", pushed, progress=False)
    return pushed


def rename_in_index(url: str, path: str) -> None:
    """Have the index of a folder call its only file by another path."""
    files, root = fsspec.core.url_to_fs(url)
    index = json.loads(files.cat_file(f"{root}/files.json"))
    index["files"][path] = index["files"].pop("a.txt")
    files.pipe_file(f"{root}/files.json", json.dumps(index).encode())


@pytest.mark.parametrize(
    "path",
    ["", ".", "a//b", "a/.", "deep/", "a\\b", "/etc/a", "../a", "../a.txt", ".files.json"],
)
def test_a_path_that_names_no_file_of_the_folder_is_refused(
    url: str, tmp_path: Path, path: str
) -> None:
    rename_in_index(url, path)
    with pytest.raises(StorageError, match="expected paths of files below the folder"):
        pull(url, tmp_path / "copy", progress=False)


@pytest.mark.parametrize(
    "files", [[], None, {"a": 1}, {"a": {"object": "a", "bytes": "1", "sha256": "0"}}]
)
def test_an_index_of_another_form_is_refused(url: str, tmp_path: Path, files: object) -> None:
    storage, root = fsspec.core.url_to_fs(url)
    content = json.dumps({"format": "hh-slm files 1", "files": files}).encode()
    storage.pipe_file(f"{root}/files.json", content)
    with pytest.raises(StorageError, match="expected 'hh-slm files 1'"):
        pull(url, tmp_path / "copy", progress=False)


def test_nothing_is_written_through_a_link_that_lies_in_the_copy(url: str, tmp_path: Path) -> None:
    rename_in_index(url, "deep/a.txt")
    (tmp_path / "copy").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "copy" / "deep").symlink_to(tmp_path / "outside", target_is_directory=True)
    with pytest.raises(StorageError, match="got a link"):
        pull(url, tmp_path / "copy", progress=False)
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_that_the_disk_refuses_is_named(url: str, tmp_path: Path) -> None:
    rename_in_index(url, "x" * 300)
    with pytest.raises(StorageError, match="cannot be written"):
        pull(url, tmp_path / "copy", progress=False)


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/outside", ""])
def test_no_object_outside_of_the_folder_is_read_or_deleted(tmp_path: Path, name: str) -> None:
    url, remote, outside = f"file://{tmp_path}/remote", tmp_path / "remote", tmp_path / "outside"
    here = tmp_path / "here"
    here.mkdir()
    (here / "a.txt").write_text("first")
    push(here, url, progress=False)
    outside.write_text("first")
    index = json.loads((remote / "files.json").read_text())
    index["files"]["a.txt"]["object"] = name
    (remote / "files.json").write_text(json.dumps(index))
    with pytest.raises(StorageError, match="expected 'hh-slm files 1'"):
        pull(url, tmp_path / "there", progress=False)
    # A push deletes what the index before it named and its own does not.
    (here / "a.txt").write_text("second")
    with pytest.raises(StorageError, match="expected 'hh-slm files 1'"):
        push(here, url, progress=False)
    assert outside.is_file()
