"""Folders in object storage (`s3://bucket/folder`, whatever fsspec knows), whole or not at all.

A folder there has an index (slm/storage/remote_folder.py) that is put last: a reader sees the files
of before or those of after. A file that changed gets an object of a new name, and the old object
goes once the index does not name it any more. What comes back is checked by its SHA-256.

`s3://` needs the package s3fs (extra `s3`); keys and endpoint come from AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL or `~/.aws`, as everywhere.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from tqdm.contrib.concurrent import thread_map

from codec.cache_folder import cache_folder
from codec.error_text import reason_of
from codec.files import files_below, read_json, sha256_of, whole_file, write_json
from codec.files.reading import open_file

from .remote_folder import INDEX, Entry, RemoteFolder, StorageError

_STATE = ".files.json"  # of a local copy: sizes, times and sums of its files at the last check
_THREADS = 8
# Names of unfinished files, of every writer of this repository.
_UNFINISHED = (".*", "*.partial", "*.tmp", "*.part")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Transfer:
    """Outcome of a push or pull: files moved, files that were there already, bytes moved."""

    moved: int
    kept: int
    bytes: int


def is_url(folder: Path | str) -> bool:
    """True if a folder is given as a URL such as s3://bucket/folder rather than as a path."""
    return isinstance(folder, str) and "://" in folder


def local_copy(folder: Path | str, cache: Path | None = None) -> Path:
    """The folder itself, or an up-to-date copy of one that `push` put to a URL.

    Only files that changed are fetched. Processes of one machine share the copy, and wait for one
    another while it is made.

    Args:
        folder: Its path or URL.
        cache: Folder of the copies; None is `codec.cache_folder`.

    Raises:
        ValueError: There is no such folder.
        StorageError: The URL cannot be reached, has no index, or a file is not what it lists.
    """
    if not is_url(folder):
        return Path(folder)
    from filelock import FileLock

    url = str(folder).rstrip("/")
    root = cache or cache_folder()
    # Readable, and another one for a folder of the same name elsewhere.
    name = f"{PurePosixPath(url).name}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{name}.lock"):
        pull(url, root / name)
    return root / name


def push(
    folder: Path,
    url: str,
    *,
    skip: Sequence[str] = (),
    known: dict[str, tuple[Any, Entry]] | None = None,
    progress: bool = True,
) -> Transfer:
    """Put the files of `folder` to `url`; readers see the old or the new ones, never a mixture.

    Files that are only there stay there; unfinished ones are left out: those that begin with a dot
    or end in .partial, .tmp or .part. Linked folders are sent as what they hold.

    Args:
        folder: Its files at any depth.
        url: Of the folder there.
        skip: Patterns of paths to leave out, such as "prepare/*".
        known: Files pushed before by this process, by path: those whose size and time have not
            changed are not read again. Updated.
        progress: Show a bar on stderr.

    Raises:
        StorageError: The URL cannot be reached, or a large file changes while it is sent.
        OSError: A file cannot be read, a link leads nowhere, or a pipe lies among the files.
    """
    known = {} if known is None else known
    remote = RemoteFolder(url)
    before = remote.index() or {}
    # Names that readers of the present index use, and that must not be written to.
    taken = {entry.object for entry in before.values()}
    paths = list(_finished(folder, skip))

    def send(path: str) -> tuple[Entry, bool]:
        # Taken before the file is read: a change in between shows at the next push.
        state = _state(folder / path)
        if path in known and known[path][0] == state and before.get(path) == known[path][1]:
            return known[path][1], False
        entry, sent = _send(remote, folder / path, path, before.get(path), taken)
        known[path] = state, entry
        return entry, sent

    results = _in_threads(send, paths, "  sent", progress)
    after = before | {path: entry for path, (entry, _) in zip(paths, results, strict=True)}
    if after != before:
        # The index first: what it does not name any more, nobody reads.
        remote.put_index(after)
        remote.remove(taken - {entry.object for entry in after.values()})
    moved = [entry.bytes for entry, sent in results if sent]
    return Transfer(len(moved), len(results) - len(moved), sum(moved))


def pull(url: str, folder: Path, *, progress: bool = True) -> Transfer:
    """Make `folder` hold what `url` does; other files of it are left alone.

    Every file appears only when it is whole and checked.

    Raises:
        StorageError: The URL cannot be reached, has no index, or a file is not what it lists.
    """
    remote = RemoteFolder(url)
    index = remote.index()
    if index is None:
        raise StorageError(
            f"{url}: expected a folder with {INDEX}, found none; put it there with "
            "`python -m recipes.storage.transfer FOLDER URL`"
        )
    # An index of others must not write outside the folder.
    for path in index:
        _check_path(url, folder, path)
    states = _read_states(folder)

    def fetch(path: str) -> bool:
        return _fetch(remote, index[path], folder / path, states.get(path))

    fetched = _in_threads(fetch, list(index), "  fetched", progress)
    states = {path: [*_state(folder / path)[:2], index[path].sha256] for path in index}
    write_json(folder / _STATE, states, indent=None)
    moved = [index[path].bytes for path, new in zip(index, fetched, strict=True) if new]
    return Transfer(len(moved), len(index) - len(moved), sum(moved))


def has_index(url: str) -> bool:
    """True if a folder was ever pushed to a URL; `StorageError` where it cannot be reached."""
    return RemoteFolder(url).index() is not None


def _finished(folder: Path, skip: Sequence[str]) -> Iterator[str]:
    """Paths of the files of a folder that are finished, from the folder on, sorted.

    Those of linked folders are among them, and whatever is no file, for sending to refuse by name.
    """
    if not folder.is_dir():
        raise StorageError(f"{folder}: expected a folder, found none")
    for path in files_below(folder):
        name = path.relative_to(folder)
        unfinished = any(fnmatch.fnmatch(part, p) for part in name.parts for p in _UNFINISHED)
        skipped = any(fnmatch.fnmatch(name.as_posix(), pattern) for pattern in skip)
        if not unfinished and not skipped and name.as_posix() != INDEX:
            yield name.as_posix()


def _check_path(url: str, folder: Path, path: str) -> None:
    """Refuse a path of an index that names no file below a folder.

    Raises:
        StorageError: It is absolute, goes up, names a folder, or leads through a link that lies in
            the folder.
    """
    parts = path.split("/")
    if (
        any(part in ("", ".", "..") for part in parts)
        or "\0" in path
        or "\\" in path
        or path == _STATE
    ):
        raise StorageError(f"{url}: expected paths of files below the folder, got {path[:200]!r}")
    place = folder
    for part in parts[:-1]:
        place /= part
        if place.is_symlink():
            raise StorageError(f"{url}: expected a folder at {place}, got a link; remove it")
    if (folder / path).is_dir():
        raise StorageError(f"{url}: expected a file at {folder / path}, got a folder; remove it")


def _send(
    remote: RemoteFolder, source: Path, path: str, before: Entry | None, taken: set[str]
) -> tuple[Entry, bool]:
    """Put a file unless the index has it; the bytes sent are the bytes that were hashed."""
    # One open file: a writer that renames another over it changes nothing for us.
    with open_file(source) as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(3):
            file.seek(0)
            sha256 = sha256_of(file)
            if before is not None and before.sha256 == sha256:
                return before, False
            name = path if path not in taken else f"{path}.{sha256[:12]}"
            file.seek(0)
            entry = remote.put(name, file)
            # A writer may have changed the file in place since it was hashed.
            if entry.sha256 == sha256:
                return entry, True
    raise StorageError(f"{source}: changes while it is sent ({size} bytes at first)")


def _fetch(remote: RemoteFolder, entry: Entry, target: Path, state: Any) -> bool:
    """Bring one file up to date; returns whether it had to be fetched."""
    if target.is_file():
        now = _state(target)
        if state is not None and [*now[:2], entry.sha256] == state:
            return False
        # Unknown here, such as after a cache was copied: its bytes decide.
        if now[0] == entry.bytes and sha256_of(target) == entry.sha256:
            return False
    with _naming(remote, target), whole_file(target) as partial:
        with open(partial, "wb") as file:
            found = remote.get(entry.object, file)
        if found != entry.sha256:
            raise StorageError(
                f"{remote.url}/{entry.object}: expected SHA-256 {entry.sha256}, got {found}; push "
                "the folder again"
            )
    return True


@contextmanager
def _naming(remote: RemoteFolder, target: Path) -> Iterator[None]:
    """Turn what the disk raises for a file of an index into a `StorageError` that names it."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{remote.url}: {target} cannot be written ({reason_of(error, target)})"
        ) from error


def _in_threads(
    work: Callable[[str], Result], paths: list[str], what: str, progress: bool
) -> list[Result]:
    options: dict[str, Any] = {"unit": "file", "disable": not progress, "delay": 2}
    return thread_map(work, paths, max_workers=_THREADS, desc=what, **options)


def _state(path: Path) -> tuple[int, int, int]:
    """Size, time of the last change (ns) and inode."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _read_states(folder: Path) -> dict[str, Any]:
    try:
        return read_json(folder / _STATE)
    except (OSError, ValueError):
        return {}
