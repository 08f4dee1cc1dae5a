"""Small tars for the tests of what reads them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from codec.files.locations import member_path


def write_tar(
    path: Path,
    members: Mapping[str, bytes] | Iterable[tuple[str, bytes]],
    mode: Any = "w",
    form: int = tarfile.DEFAULT_FORMAT,
) -> Path:
    """Write members in their order; several may share a name. `mode` is that of `tarfile.open`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as tar:
        pairs: Any = members.items() if isinstance(members, Mapping) else members
        for name, content in pairs:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def pack(tar: Path, files: Iterable[Path]) -> dict[str, Path]:
    """Move files into a tar; returns the location of each by its name."""
    files = list(files)
    write_tar(tar, [(file.name, file.read_bytes()) for file in files])
    for file in files:
        file.unlink()
    return locations(tar)


def locations(tar: Path) -> dict[str, Path]:
    """The location of every member of a tar by its name."""
    with tarfile.open(tar) as archive:
        return {each.name: member_path(tar, each.offset, each.name) for each in archive}
