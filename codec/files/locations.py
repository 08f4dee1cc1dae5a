"""Locations of recordings: paths of files, of members of tars, and of parts of either.

`TAR:BYTE:NAME` is a member of a tar that is not compressed; BYTE is where its header begins. So it
is found without a look through the tar, and a tar that was packed anew is noticed, since another
name, or none, is found there. `RECORDING#t=START,END&channel=N` is a part (s) and a channel (from
0), as Media Fragments URIs have it (https://www.w3.org/TR/media-frags/); each of the two, and END,
may be left out.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import IO

from .reading import open_file

# A byte beyond 18 digits is in no file.
_MEMBER = re.compile(r"(.*?\.tar):(\d{1,18}):([^/\\]+)", re.IGNORECASE | re.DOTALL | re.ASCII)
_NUMBER = r"\d+(?:\.\d+)?"
_FRAGMENT = re.compile(
    rf"(.+)#(?:t=({_NUMBER})(?:,({_NUMBER}))?(?:&channel=(\d+))?|channel=(\d+))",
    re.DOTALL | re.ASCII,
)


class TarMemberError(ValueError):
    """A member that is not where it was, or not whole; the message names tar, byte and name."""


@dataclass(frozen=True)
class Part:
    """A part of a recording.

    Attributes:
        start: First moment, s.
        end: Last moment, s; None is the end of the recording.
        channel: Number of the one channel, from 0; None is all of them.
    """

    start: float = 0.0
    end: float | None = None
    channel: int | None = None


def member_path(tar: Path, offset: int, name: str) -> Path:
    """Name a member of a tar as a path.

    Args:
        tar: Not compressed, its name ending in `.tar`.
        offset: Byte at which the member's first header begins.
        name: Of the member; the last part is kept.
    """
    return Path(f"{tar}:{offset}:{PurePosixPath(name).name}")


def part_path(recording: Path, part: Part) -> Path:
    """Name a part of a recording as a path.

    Raises:
        ValueError: Times or channel that no part can have, or a recording that is a part itself.
    """
    times = f"t={_seconds(part.start)}" + ("" if part.end is None else f",{_seconds(part.end)}")
    channel = "" if part.channel is None else f"&channel={part.channel}"
    path = Path(f"{recording}#{times}{channel}")
    is_none = part.end is not None and part.end < part.start
    if is_none or split_part(path)[1] is None:
        raise ValueError(f"{recording}: expected times and a channel of 0 or more, got {part}")
    if split_part(recording)[1] is not None:
        raise ValueError(f"{recording}: expected a whole recording, got a part of one")
    return path


def split_part(path: str | os.PathLike[str]) -> tuple[Path, Part | None]:
    """Split a location into the recording and the part of it; None is all of it."""
    found = _FRAGMENT.fullmatch(os.fspath(path))
    if found is None:
        return Path(path), None
    recording, start, end, *channels = found.groups()
    channel = next((int(each) for each in channels if each is not None), None)
    return Path(recording), Part(float(start or 0), None if end is None else float(end), channel)


def file_of(path: str | os.PathLike[str]) -> Path:
    """Name the file on the disk that a location leads to, such as the tar of a member."""
    recording = split_part(path)[0]
    found = _MEMBER.fullmatch(os.fspath(recording))
    return recording if found is None else Path(found[1])


def is_member(path: str | os.PathLike[str]) -> bool:
    """Tell whether a recording is a member of a tar."""
    return _MEMBER.fullmatch(os.fspath(path)) is not None


@contextmanager
def opened_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or a member of a tar as if it were one, for reading and seeking.

    Raises:
        TarMemberError: The tar has no such member at that byte, or ends before its end.
        OSError: The file, or the tar, cannot be read.
    """
    found = _MEMBER.fullmatch(os.fspath(path))
    with open_file(path if found is None else found[1]) as file:
        yield file if found is None else _member(file, path, int(found[2]), found[3])


def read_bytes(path: Path) -> bytes:
    """Read all of a file or of a member; raises as `opened_bytes`."""
    with opened_bytes(path) as file:
        return file.read()


def is_plain(member: tarfile.TarInfo) -> bool:
    """Tell whether a member is a file whose contents lie in its tar as they are."""
    return member.isreg() and not member.issparse()


def _seconds(value: float) -> str:
    """A time with all of its digits and no exponent."""
    return f"{Decimal(repr(float(value))):f}".removesuffix(".0")


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
