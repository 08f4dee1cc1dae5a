"""Folder trees and the tree of their outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from codec.bitstream.batch import tree_pairs
from codec.bitstream.conversions import CONVERSIONS


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_what_a_killed_run_left_is_not_converted_but_counted(tmp_path: Path) -> None:
    left = (".fdqhs3zf.hhc", ".a.hhc.0123abcd-12-0123abcd.partial", "._a.hhc")
    touch(tmp_path / "codes", "a.hhc", "b/c.hhc", "notes.txt", *left)
    pairs, others = tree_pairs(tmp_path / "codes", tmp_path / "out", CONVERSIONS["decode"])
    assert [pair.source.relative_to(tmp_path / "codes").as_posix() for pair in pairs] == [
        "a.hhc",
        "b/c.hhc",
    ]
    assert others == 4


@pytest.mark.parametrize("names", [("a.wav", "a.flac"), ("a.wav", "A.wav"), ("a.wav", "A.FLAC")])
def test_two_files_of_one_output_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path / "in", *names)
    with pytest.raises(ValueError, match="would both become"):
        tree_pairs(tmp_path / "in", tmp_path / "out", CONVERSIONS["encode"])


def test_other_files_of_linked_folders_are_counted(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "b.wav", "notes.txt")
    touch(tmp_path / "in", "a.wav")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    pairs, others = tree_pairs(tmp_path / "in", tmp_path / "out", CONVERSIONS["encode"])
    assert len(pairs) == 2
    assert others == 1
