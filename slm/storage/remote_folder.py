"""A folder in object storage: objects, and an index that makes them visible.

An object store has no rename, so the index, `files.json`, maps each file to its object, size and
SHA-256. It is replaced by one put, which is atomic.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from codec.error_text import message_of
from codec.files import write_bytes
from codec.files.reading import open_file
from codec.requirements import install_command

INDEX = "files.json"
_CHUNK = 1 << 22
_FORMAT = "hh-slm files 1"


class StorageError(ValueError):
    """A folder that cannot be reached, or a file that is not what its index lists."""


@dataclass(frozen=True)
class Entry:
    """One file of an index.

    Attributes:
        object: Its name below the folder's URL, without empty parts, "." and "..".
        bytes: Its size.
        sha256: 64 hex digits.
    """

    object: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if (type(self.object), type(self.bytes), type(self.sha256)) != (str, int, str):
            raise TypeError(f"expected an object, its bytes and its sha256, got {self}")
        # On a disk another name would be read, and after a push deleted, outside of the folder.
        if {"", ".", ".."} & set(self.object.split("/")):
            raise ValueError(f"expected an object below the folder, got {self.object[:80]!r}")


class RemoteFolder:
    """A folder at a URL.

    Args:
        url: Such as s3://bucket/folder.

    Raises:
        StorageError: No library here speaks the protocol; every method raises it where storage
            fails.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url.rstrip("/")
        try:
            self._files, root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise StorageError(
                f"{url}: expected a URL that fsspec can open ({error}); for s3://: "
                + install_command("s3fs")
            ) from error
        self._root = str(root).rstrip("/")
        protocol = self._files.protocol
        self._is_local = "file" in ([protocol] if isinstance(protocol, str) else protocol)

    def index(self) -> dict[str, Entry] | None:
        """Files by path; None where there is no index."""
        try:
            text = self._files.cat_file(f"{self._root}/{INDEX}")
        except FileNotFoundError:
            return None
        except Exception as error:  # of whatever library speaks the protocol
            raise StorageError(f"{self.url}: cannot be read: {message_of(error)}") from error
        try:
            found = json.loads(text)
            if found["format"] != _FORMAT:
                raise KeyError("format")
            # Entries with other fields raise TypeError here.
            return {path: Entry(**entry) for path, entry in found["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise StorageError(f"{self.url}/{INDEX}: expected {_FORMAT!r}, got others") from error

    def put_index(self, files: dict[str, Entry]) -> None:
        """Replace the index in one step."""
        content = {"format": _FORMAT, "files": {path: vars(e) for path, e in files.items()}}
        text = (json.dumps(content, indent=1) + "\n").encode()
        with self._reporting(INDEX):
            # A put is atomic in an object store; a plain file is not, and is renamed into place.
            if self._is_local:
                write_bytes(Path(self._root) / INDEX, text)
            else:
                self._files.pipe_file(f"{self._root}/{INDEX}", text)

    def put(self, name: str, source: IO[bytes]) -> Entry:
        """Write an object, which nobody reads before an index names it; returns its entry."""
        path = f"{self._root}/{name}"
        with self._reporting(name):
            if self._is_local:  # object stores have no folders to be made
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            with self._files.open(path, "wb") as target:
                return Entry(name, *_copy(source, target))

    def get(self, name: str, target: IO[bytes]) -> str:
        """Read an object into a file; the SHA-256 of what came, 64 hex digits."""
        path = f"{self._root}/{name}"
        with (
            self._reporting(name),
            # a named pipe would be waited for
            open_file(path) if self._is_local else self._files.open(path, "rb") as source,
        ):
            return _copy(source, target)[1]

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects that no index names."""
        for name in names:
            with self._reporting(name):
                self._files.rm_file(f"{self._root}/{name}")

    @contextmanager
    def _reporting(self, name: str) -> Iterator[None]:
        """Turn what a storage library raises into a `StorageError` that names the object."""
        try:
            yield
        except StorageError:
            raise
        except Exception as error:
            raise StorageError(f"{self.url}/{name}: {message_of(error)}") from error


def _copy(source: IO[bytes], target: IO[bytes]) -> tuple[int, str]:
    """Copy what is left of a file; bytes and SHA-256 of it."""
    digest, size = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
        size += len(chunk)
        target.write(chunk)
    return size, digest.hexdigest()
