"""Files that are given by name, opened without waiting for what may never come.

A pipe with a name gives nothing until somebody writes to it, and a device may give bytes without
end, so neither is opened. What this process was given open is read: `/dev/stdin`, `<(command)`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import BinaryIO

# Where the numbers of the open files of this process are listed, by POSIX systems.
_OPEN = "/dev/fd"
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)

# Pipes that were read, by device and number: what was in them is gone.
_read_before: set[tuple[int, int]] = set()


class NotAFileError(OSError, ValueError):
    """A path where no file lies but something that cannot be read, or replaced, like one."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading its bytes.

    Args:
        path: Of the file, or of a pipe or device that this process was given open.

    Raises:
        NotAFileError: A named pipe, a socket, a device, or a pipe that was read already.
        OSError: It is missing or cannot be opened.
    """
    state = os.stat(path)
    kind = kind_of(state.st_mode)
    if not kind or (kind == "device" and _is_null(path)):
        return open(path, "rb")
    number = _held(state)
    if number is None:
        raise not_a_file(path, f"a {kind}")
    key = state.st_dev, state.st_ino
    if kind != "device":
        if key in _read_before:
            raise not_a_file(path, "a pipe that was read already, and can be read once")
        _read_before.add(key)
    # A second opening would wait for a second writer.
    return os.fdopen(os.dup(number), "rb")


def read_file(path: str | os.PathLike[str]) -> bytes:
    """Read all bytes of a file; raises as `open_file`."""
    with open_file(path) as file:
        return file.read()


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Refuse to write a file in the place of a pipe, a socket or a device, such as /dev/null.

    Raises:
        NotAFileError: One of them is there.
    """
    try:
        kind = kind_of(os.stat(path).st_mode)
    except OSError:  # nothing, or a link to nothing
        return
    if kind:
        raise not_a_file(path, f"a {kind}")


def kind_of(mode: int) -> str:
    """Name what lies somewhere by its mode (`os.stat`), '' for files and folders."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "")


def not_a_file(path: str | os.PathLike[str], got: str) -> NotAFileError:
    """Make the error of a path where something else than a file lies."""
    return NotAFileError(errno.EINVAL, f"expected a file, got {got}", os.fspath(path))


def _is_null(path: str | os.PathLike[str]) -> bool:
    return os.path.realpath(path) == os.devnull


def _held(state: os.stat_result) -> int | None:
    """The number by which this process has something open, None where it does not."""
    try:
        numbers = sorted(int(name) for name in os.listdir(_OPEN) if name.isdecimal())
    except OSError:
        return None
    for number in numbers:
        try:
            found = os.fstat(number)
        except OSError:  # that of the listing itself
            continue
        is_same = (found.st_dev, found.st_ino) == (state.st_dev, state.st_ino)
        # A writer's end of the same pipe gives nothing.
        if is_same and _is_readable(number):
            return number
    return None


def _is_readable(number: int) -> bool:
    """Tell whether an open file was opened for reading."""
    import fcntl  # of POSIX alone

    return fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY
