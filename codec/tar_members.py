"""Files that lie in tars and are read there: `TAR:BYTE:NAME` in the place of a path.

BYTE is where the member's header begins. So a member is found without a look through its tar, and a
tar that was packed anew is noticed, since another name, or none, is found there.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

_MEMBER = re.compile(r"(.*?\.tar):(\d+):([^/\\]+)", re.IGNORECASE | re.DOTALL)


class TarMemberError(ValueError):
    """A member that is not where it was, or not whole; the message names tar, byte and name."""


def member_path(tar: Path, offset: int, name: str) -> Path:
    """Name a member of a tar as a path.

    Args:
        tar: Not compressed, its name ending in `.tar`.
        offset: Byte at which the member's first header begins.
        name: Of the member; the last part is kept.
    """
    return Path(f"{tar}:{offset}:{PurePosixPath(name).name}")


def file_of(path: str | os.PathLike[str]) -> Path:
    """Name the file on the disk that a path leads to: the tar of a member, else the path itself."""
    found = _MEMBER.fullmatch(os.fspath(path))
    return Path(path if found is None else found[1])


def is_member(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path names a member of a tar."""
    return _MEMBER.fullmatch(os.fspath(path)) is not None


@contextmanager
def opened_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or a member of a tar as if it were one, for reading and seeking.

    Raises:
        TarMemberError: The tar has no such member at that byte, or ends before its end.
        OSError: The file, or the tar, cannot be read.
    """
    found = _MEMBER.fullmatch(os.fspath(path))
    with file_of(path).open("rb") as file:
        yield file if found is None else _member(file, path, int(found[2]), found[3])


def read_bytes(path: Path) -> bytes:
    """Read all of a file or of a member; raises as `opened_bytes`."""
    with opened_bytes(path) as file:
        return file.read()


def _member(file: IO[bytes], path: Path, offset: int, name: str) -> IO[bytes]:
    """The contents of the member whose first header begins at a byte of an open tar."""
    file.seek(offset)
    member = tar = None
    # Opened at a header, a tar begins there.
    with suppress(tarfile.TarError):
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - closes no file of others
        member = tar.next()
    got = None if member is None else PurePosixPath(member.name).name
    if tar is None or member is None or got != name or not is_plain(member):
        raise TarMemberError(
            f"{path}: expected {name} at byte {offset}, got {got or 'none'}: the tar has changed; "
            "import it again"
        )
    size, end = os.fstat(file.fileno()).st_size, member.offset_data + member.size
    if end > size:
        raise TarMemberError(
            f"{path}: truncated, expected a tar of {end} bytes or more, got {size}; copy it again"
        )
    contents = tar.extractfile(member)
    assert contents is not None  # of a regular file
    return contents


def is_plain(member: tarfile.TarInfo) -> bool:
    """Tell whether a member is a file whose contents lie in its tar as they are."""
    return member.isreg() and not member.issparse()
