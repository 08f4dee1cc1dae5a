"""File names made of ids, and walks through folders of data.

Ids come from outside: a manifest, an archive, a table. `item_path` is the one way from an id to a
file, and `check_items` finds ids that would share a file before any work is done.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath, PureWindowsPath

# Bytes that file systems allow a name, and a path below a folder that is long itself.
_NAME_BYTES, _PATH_BYTES = 255, 2048


def name_problem(name: str, suffix: str = "") -> str:
    """Find the reason why an id cannot name a file below a folder, '' where it can.

    Args:
        name: The id; slashes part folders.
        suffix: Of the file, such as ".flac".
    """
    parts = name.split("/")
    if not name or "" in parts:
        return "an id without empty parts between slashes"
    if "." in parts or ".." in parts or "\\" in name:
        return "an id without parts '.' and '..' and without '\\'"
    if os.name == "nt" and PureWindowsPath(name).drive:
        return "an id without a drive"
    if "\0" in name:
        return "an id without NUL"
    try:
        sizes = [len(part.encode()) for part in (*parts[:-1], parts[-1] + suffix)]
    except UnicodeEncodeError:
        return "an id that UTF-8 can hold"
    if max(sizes) > _NAME_BYTES or sum(sizes) + len(sizes) > _PATH_BYTES:
        return f"an id of at most {_NAME_BYTES - len(suffix)} bytes between slashes"
    return ""


def item_path(folder: str | os.PathLike[str], name: str, suffix: str) -> Path:
    """Name the file of an item, which always lies below the folder.

    Args:
        folder: Of the items.
        name: Id of the item; slashes part folders.
        suffix: Of the file, such as ".flac".

    Raises:
        ValueError: No file can be named after the id.
    """
    problem = name_problem(name, suffix)
    if problem:
        raise ValueError(f"expected {problem}, got {name[:80]!r}")
    return Path(folder, f"{name}{suffix}")


def composed(name: str) -> str:
    """Compose the accents of a name, which disks and archives keep in one form or the other."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Fold an id so that ids of one file are equal on every disk, whatever its case and accents."""
    return composed(name).casefold()


def check_items(names: Iterable[str], suffix: str = "") -> None:
    """Refuse ids that cannot name a file each; call it before the first file is made.

    Args:
        names: Ids, each once.
        suffix: Of the files.

    Raises:
        ValueError: An id that cannot name a file, or two that name the same one.
    """
    taken: dict[str, str] = {}
    for name in names:
        item_path("", name, suffix)
        before = taken.get(folded(name))
        if before is not None:
            raise ValueError(f"expected ids that name a file each, got {before!r} and {name!r}")
        taken[folded(name)] = name


def is_hidden(path: str | os.PathLike[str], folder: str | os.PathLike[str] = "") -> bool:
    """Tell whether a path or a folder on the way to it begins with a dot, from `folder` on.

    Such are files that a killed writer left, and what macOS leaves beside every file (`._a.wav`).
    """
    below = PurePath(path).relative_to(folder) if os.fspath(folder) else PurePath(path)
    return any(part.startswith(".") and part != ".." for part in below.parts)


def files_below(folder: str | os.PathLike[str]) -> list[Path]:
    """List the files below a folder, sorted, those of linked folders too.

    A link to a folder that it lies in is not followed. A link to a file that is not there is
    listed, for a reader to refuse it by name.

    Raises:
        OSError: A folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    found: list[Path] = []
    # real paths of each folder and of those above it
    above = {os.path.abspath(folder): frozenset({os.path.realpath(folder)})}
    for place, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        found += [Path(place, name) for name in names]
        seen = above.pop(os.path.abspath(place))
        inside = {name: os.path.realpath(os.path.join(place, name)) for name in folders}
        folders[:] = [name for name in folders if inside[name] not in seen]
        for name in folders:
            above[os.path.abspath(os.path.join(place, name))] = seen | {inside[name]}
    return sorted(found)


def data_files(folder: str | os.PathLike[str], suffixes: Iterable[str] = ()) -> list[Path]:
    """List the files below a folder that are data, sorted: those that are not hidden.

    Linked folders are walked too. A link without its file is listed, so that reading it fails by
    name.

    Args:
        folder: Walked at any depth.
        suffixes: In lower case, each with its dot; of any case on the disk. None is every suffix.
    """
    wanted = set(suffixes)
    return [
        path
        for path in files_below(folder)
        if (not wanted or path.suffix.lower() in wanted) and not is_hidden(path, folder)
    ]


def check_exists(path: Path) -> None:
    """Refuse a path where neither a file nor a folder lies."""
    if not path.exists():
        raise ValueError(f"{path}: expected a file or a folder, got neither")


def check_place(path: str | os.PathLike[str], *, is_folder: bool = False) -> None:
    """Refuse a path where nothing can be written, which would show after the work alone.

    Args:
        path: Of a file to write, or of a folder to write files to; folders on the way are made.
        is_folder: Which of the two.

    Raises:
        ValueError: A file lies where a folder would have to be.
        PermissionError: The folder takes no files.
    """
    path = Path(path)
    on_the_way = [*([path] if is_folder else []), *path.parents]
    # The first that is there holds all that has to be made.
    there = next((place for place in on_the_way if place.exists()), None)
    if there is None:
        return
    if not there.is_dir():
        raise ValueError(f"{path}: expected folders on the way to it, got the file {there}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def given_files(path: Path, suffixes: Sequence[str]) -> list[Path]:
    """List what the argument of a command names: a file, or the data files of a folder.

    Args:
        path: A file of any suffix, or a folder.
        suffixes: Of the files of a folder; see `data_files`.

    Raises:
        ValueError: Nothing lies there, or the folder has no such file.
    """
    check_exists(path)
    if not path.is_dir():
        return [path]
    found = data_files(path, suffixes)
    if not found:
        raise ValueError(f"{path}: expected files of {' '.join(suffixes)}, got none")
    return found
