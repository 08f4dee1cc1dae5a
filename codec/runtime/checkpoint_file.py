"""Checkpoints of trainings on disk: written where they are asked for, and read with the file named.

A damaged one is an error that names it, whatever the library that reads it raises.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from codec.error_text import message_of
from codec.files.reading import open_file

# Of what every training writes.
_KINDS: dict[str, type] = {"global_step": int, "state_dict": dict}


def read_checkpoint(
    path: str | os.PathLike[str],
    *,
    required: Collection[str] = (),
    error: type[ValueError] = ValueError,
) -> dict[str, Any]:
    """Read a file of tensors and plain containers by torch; nothing else is unpickled.

    Tensors of a file in torch's present format are mapped, not read, until they are used.

    Args:
        path: Of the file.
        required: Keys that it must have.
        error: Class of the errors.

    Raises:
        ValueError: It is damaged, of another kind, or lacks a key or a value of its kind: names the
            file.
        OSError: It is missing or cannot be opened.
    """
    path = Path(path)
    open_file(path).close()
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_plain(path))
    except Exception as problem:  # of pickle, zip or torch, by what is damaged
        reason = message_of(problem).split("\n", maxsplit=1)[0][:200]
        raise error(
            f"{path}: expected an intact torch file of tensors, got one that cannot be read "
            f"({type(problem).__name__}: {reason}); put back a copy, or remove it"
        ) from problem
    lacking = [key for key in required if not isinstance(found, dict) or key not in found]
    if lacking or not isinstance(found, dict):
        got = f"one without {', '.join(lacking)}" if lacking else type(found).__name__
        raise error(f"{path}: expected a dictionary in a torch file, got {got}")
    for key in required:
        if not isinstance(found[key], _KINDS.get(key, object)):
            raise error(
                f"{path}: expected {key} of kind {_KINDS[key].__name__}, "
                f"got {type(found[key]).__name__}"
            )
    return found


def check_described(
    path: Path,
    saved: Mapping[str, Any] | None,
    expected: Mapping[str, Any],
    *,
    what: str,
    parts: str,
) -> None:
    """Compare the data of a run with those of the checkpoint that it continues.

    A checkpoint older than such descriptions has none: then a warning is all.

    Args:
        path: Of the checkpoint.
        saved: Its description of the data, values by name.
        expected: That of the run.
        what: Is described, for messages: "data".
        parts: What the description consists of, for the warning.

    Raises:
        ValueError: They differ; every difference is named.
    """
    if saved is None:
        warnings.warn(
            f"{path} is of an earlier version and does not hold the description of its {what}: "
            f"whether {parts} are those of before is not checked",
            stacklevel=3,
        )
        return
    differences = [
        f"{name} {saved.get(name)}, got {value}"
        for name, value in expected.items()
        if saved.get(name) != value
    ]
    if differences:
        raise ValueError(
            f"{path} was trained on other {what}: expected {'; '.join(differences)}; set them "
            "back, or train in another folder"
        )


def _is_plain(path: Path) -> bool:
    """True if a file is an archive as torch writes it; False for the format before archives.

    Raises:
        ValueError: Its members are compressed or overlap, and might unpack to any size.
    """
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    size = path.stat().st_size
    stored = all(each.compress_type == zipfile.ZIP_STORED for each in members)
    if not stored or sum(each.file_size for each in members) > size:
        raise ValueError(f"expected members of {size} bytes in all, uncompressed, got others")
    return True
