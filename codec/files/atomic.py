"""Atomic writes: files and folders that appear only when they are whole.

A file is written under a temporary name beside its own, `.NAME.OWNER.partial`, and takes its name
in one step when everything is on the disk. A killed process leaves its partial file behind; the
next process that writes into the folder removes it. `is_partial` tells such names from data.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from .reading import check_replaceable

# .NAME.MACHINE-PROCESS-RANDOM.partial
_PARTIAL = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.partial")
# Bytes of the file's name within the temporary one, which may not exceed 255 bytes in all, and not
# 143 on an encrypted disk.
_NAME_BYTES = 80
# Seconds between two looks at a folder for what dead processes left: listing a large folder at
# every write would cost more than writing.
_SWEEP_EVERY = 60.0
# Seconds without a change after which a partial file of another machine counts as left behind.
_ABANDONED = 24 * 3600.0

_swept: dict[str, float] = {}


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path beside `path` to write to, which takes its name when nothing went wrong.

    The temporary name does not end in the suffix of `path`: a library that chooses its format by
    suffix must be told the format, or be given a handle (`with whole_file(path) as partial,
    partial.open("wb") as file`).

    Args:
        path: Of the file; its folder is made when needed. A file that is there stays as it was
            until the new one is whole.

    Yields:
        The path of an empty file, to be overwritten.

    Raises:
        OSError: The disk refused, or a pipe or device has the name. Nothing is left behind,
            whatever was raised.
    """
    path = Path(path)
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    partial = _partial_of(path)
    try:
        with naming(path, partial):
            # Opened, not made by `tempfile`, so that the mode is that of any new file.
            descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            os.close(descriptor)
            yield partial
            # safetensors puts a private file of its own in the place of this one.
            partial.chmod(mode)
            flush(partial)
            os.replace(partial, path)
        _flush_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder beside `path` to fill, which takes its name when nothing went wrong.

    Args:
        path: Of the folder, where none may be.

    Yields:
        The path of an empty folder.

    Raises:
        FileExistsError: Something has the name already.
        OSError: The disk refused. Nothing is left behind, whatever was raised.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: expected a new folder, got one that is there already")
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    partial = _partial_of(path)
    try:
        with naming(path, partial):
            partial.mkdir()
            yield partial
            for folder, _, names in os.walk(partial):
                for name in names:
                    if not os.path.islink(os.path.join(folder, name)):
                        _finish(Path(folder, name), partial)
                _flush_folder(Path(folder))
            partial.rename(path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def replaced_files(
    folder: str | os.PathLike[str], last: str, *, without: Iterable[str] = ()
) -> Iterator[Path]:
    """Give a folder to write files to that belong together, such as those of a model.

    They are moved to `folder` when all of them are whole: first `last` is removed from there, then
    the others are replaced, and the new `last` comes last. So whoever finds it finds no file of an
    earlier making beside it, and a process that was killed leaves a folder without it, or the files
    as they were.

    Args:
        folder: Where the files go; made when needed. Its other files stay.
        last: Name of the file without which readers refuse the folder. It has to be written.
        without: Names of files that do not stay where none of them was written.

    Yields:
        The path of an empty folder.

    Raises:
        OSError: The disk refused, or a folder, a pipe or a device has the name of a file. Nothing
            of the new files is left behind, whatever was raised.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    partial = _partial_of(folder / Path(last).name)
    try:
        with naming(folder, partial):
            partial.mkdir()
            yield partial
        made = [path.relative_to(partial) for path in partial.rglob("*") if path.is_file()]
        assert Path(last) in made, f"expected {last} among {[str(path) for path in made]}"
        for path in made:
            _finish(partial / path, partial)
            check_replaceable(folder / path)
            if (folder / path).is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), folder / path)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / last).unlink(missing_ok=True)
        _flush_folder((folder / last).parent)
        for name in {*without} - {path.as_posix() for path in made}:
            (folder / name).unlink(missing_ok=True)
        for path in sorted(made, key=Path(last).__eq__):
            if path == Path(last):  # the names of the others are on the disk before it
                for parent in {folder / each.parent for each in made}:
                    _flush_folder(parent)
            with naming(folder, partial):
                os.replace(partial / path, folder / path)
        _flush_folder((folder / last).parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _finish(path: Path, folder: Path) -> None:
    """Bring a file to the disk, open to those to whom the new folder above it is."""
    # Files of safetensors are their maker's alone.
    path.chmod(stat.S_IMODE(path.stat().st_mode | (folder.stat().st_mode & 0o666)))
    flush(path)


@contextmanager
def naming(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Give an error of the system the name of what was to be written.

    Args:
        path: For errors without a name.
        partial: Temporary name of `path`, which no reader knows, or of files that go below it.

    Raises:
        OSError: As it came, with a name.
    """
    try:
        yield
    except OSError as error:
        name, wanted = error.filename, None
        # Errors of other classes than the system's have words of their own.
        if error.errno is None or type(error) is not type(OSError(error.errno, "")):
            raise
        if name is None and type(error) is OSError:  # of a write into an open file
            wanted = os.fspath(path)
        elif partial is not None and isinstance(name, str) and Path(name).is_relative_to(partial):
            wanted = os.fspath(path / Path(name).relative_to(partial))
        if wanted is None:
            raise
        raise OSError(error.errno, error.strerror, wanted) from error


def is_partial(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a temporary one of `whole_file` or `whole_folder`, or lies in one."""
    return any(part.startswith(".") and part.endswith(".partial") for part in PurePath(path).parts)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, whole or not at all, and return its path.

    Raises:
        OSError: The disk refused.
    """
    with whole_file(path) as partial:
        partial.write_bytes(content)
    return Path(path)


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    r"""Write UTF-8 text, whole or not at all, and return its path; `\n` stays `\n` everywhere.

    Raises:
        OSError: The disk refused.
    """
    return write_bytes(path, text.encode())


def _partial_of(path: Path) -> Path:
    """A temporary name for `path` that no other writer has."""
    name = path.name.encode("utf-8", "ignore")[:_NAME_BYTES].decode("utf-8", "ignore")
    owner = f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{name}.{owner}.partial")


@functools.cache
def _machine() -> str:
    """Name of the host or container in which process numbers are unique; 8 hex digits."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    host = os.environ.get("COMPUTERNAME", "") if sys.platform == "win32" else os.uname().nodename
    return hashlib.sha256(f"{host} {namespace}".encode()).hexdigest()[:8]


def _sweep(folder: Path) -> None:
    """Remove what dead processes left in a folder, unless it was looked at a moment ago."""
    key, now = os.path.abspath(folder), time.monotonic()
    if now - _swept.get(key, -_SWEEP_EVERY) < _SWEEP_EVERY:
        return
    _swept[key] = now
    # Another process may be sweeping too, and litter is no reason to fail.
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            owner = _PARTIAL.fullmatch(entry.name)
            if owner and _is_abandoned(Path(entry.path), owner[1], int(owner[2])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def _is_abandoned(path: Path, machine: str, process: int) -> bool:
    """True if nobody writes a partial file or folder any more."""
    # Windows has no harmless signal to ask with.
    if machine == _machine() and sys.platform != "win32":
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        except OSError:  # of another user
            return False
        return False
    inside = path.rglob("*") if path.is_dir() else ()
    changed = max(each.stat().st_mtime for each in (path, *inside))
    return time.time() - changed > _ABANDONED


def flush(path: Path) -> None:
    """Wait until a file is on the disk.

    Raises:
        OSError: The disk refused.
    """
    # Windows flushes only what may be written.
    descriptor = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can be asked for that."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
