"""A folder in object storage: an index of its files, and objects that only the index makes seen.

An object store has no rename, so the index, `files.json`, says which object is which file, how long
it is and what its SHA-256 is. It is replaced by one put, which is atomic.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

INDEX = "files.json"
CHUNK = 1 << 22
_FORMAT = "hh-slm files 1"


class StorageError(ValueError):
    """A place that cannot be reached, or a file that is not what its index says."""


@dataclass(frozen=True)
class Entry:
    """One file of an index.

    Attributes:
        object: Its name below the folder's URL.
        bytes: Its size.
        sha256: 64 hex digits.
    """

    object: str
    bytes: int
    sha256: str


class RemoteFolder:
    """A folder at a URL."""

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs

        self.url = url.rstrip("/")
        try:
            self._files, root = url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise StorageError(
                f"{url}: expected a URL that fsspec can open ({error}); for s3:// install s3fs"
            ) from error
        self._root = str(root).rstrip("/")

    def index(self) -> dict[str, Entry] | None:
        """Files by path; None where there is no index."""
        try:
            text = self._files.cat_file(f"{self._root}/{INDEX}")
        except FileNotFoundError:
            return None
        except Exception as error:  # of whatever library speaks the protocol
            raise StorageError(f"{self.url}: cannot be read: {error!r}") from error
        try:
            found = json.loads(text)
            if found["format"] != _FORMAT:
                raise KeyError("format")
            return {path: Entry(**entry) for path, entry in found["files"].items()}
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{self.url}/{INDEX}: expected {_FORMAT!r}, got others") from error

    def put_index(self, files: dict[str, Entry]) -> None:
        """Replace the index in one step."""
        content = {"format": _FORMAT, "files": {path: vars(e) for path, e in files.items()}}
        text = (json.dumps(content, indent=1) + "\n").encode()
        with self._reporting(INDEX):
            if "file" in _protocols(self._files):
                write_whole(Path(self._root) / INDEX, text)
            else:
                self._files.pipe_file(f"{self._root}/{INDEX}", text)

    def put(self, name: str, source: IO[bytes]) -> None:
        """Write an object; nobody reads it before an index names it."""
        path = f"{self._root}/{name}"
        with self._reporting(name):
            if "file" in _protocols(self._files):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            with self._files.open(path, "wb") as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of an object."""
        with self._reporting(name), self._files.open(f"{self._root}/{name}", "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def remove(self, names: Iterable[str]) -> None:
        """Delete objects that no index names."""
        for name in names:
            with self._reporting(name):
                self._files.rm_file(f"{self._root}/{name}")

    def _reporting(self, name: str) -> "_Reporting":
        return _Reporting(f"{self.url}/{name}")


class _Reporting:
    """Turns what a storage library raises into a `StorageError` that names the object."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, StorageError):
            raise StorageError(f"{self._what}: {error!r}") from error


def _protocols(files: Any) -> tuple[str, ...]:
    protocol = files.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
