"""Torch files that are read with their name in every error."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from codec.runtime.checkpoint_file import read_checkpoint


class Bomb:
    """What an unpickler would call."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("boom",)


@pytest.mark.parametrize("form", ["archive", "before archives"])
def test_a_whole_file_is_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.ckpt"
    saved = {"state_dict": {"w": torch.arange(4.0)}, "global_step": 3}
    torch.save(saved, path, _use_new_zipfile_serialization=form == "archive")
    found = read_checkpoint(path, required=("state_dict",))
    assert torch.equal(found["state_dict"]["w"], torch.arange(4.0))
    assert found["global_step"] == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "pickled", "compressed", "list", "key"])
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(1000)}}, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage in ("empty", "text"):
        path.write_bytes(b"" if damage == "empty" else b"no checkpoint at all")
    elif damage == "pickled":
        path.write_bytes(pickle.dumps(Bomb()))
    elif damage == "compressed":  # which may unpack to any size
        with zipfile.ZipFile(path) as whole:
            members = {name: whole.read(name) for name in whole.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    elif damage == "list":
        torch.save([1, 2], path)
    with pytest.raises(ValueError, match=rf"{path}: expected .*, got"):
        read_checkpoint(path, required=("state_dict", "global_step"))
    assert "boom" not in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [{"global_step": "3"}, {"state_dict": [1]}])
def test_a_value_of_another_kind_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": {}, "global_step": 3} | wrong, path)
    (key,) = wrong
    with pytest.raises(ValueError, match=rf"{path}: expected {key} of kind \w+, got (str|list)"):
        read_checkpoint(path, required=("state_dict", "global_step"))


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "a.ckpt")
