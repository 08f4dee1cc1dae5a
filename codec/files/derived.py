"""Digests of what derived files were made from, so that a corrected source is noticed.

A file that is kept from an earlier run is taken for the right one only while the digest that was
noted of it is that of what it would be made from now: state of the source file, times, settings.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .json_lines import append_json_line, cut_torn_line, read_json_lines
from .locations import file_of


def digest_of(*values: Any) -> str:
    """Hash plain containers by their JSON, 16 hex digits; paths count by their names.

    Raises:
        TypeError: A value that JSON does not have.
    """
    text = json.dumps(values, sort_keys=True, default=os.fspath)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_state(path: str | os.PathLike[str]) -> list[Any]:
    """Describe a file without reading it: absolute path, bytes, and time of its last change, ns.

    A file that is not there has its path alone, and so another state than before or after. A member
    of a tar (`codec.files.locations`) changes with its tar.
    """
    name = os.path.abspath(path)
    try:
        state = file_of(name).stat()
    except OSError:
        return [name]
    return [name, state.st_size, state.st_mtime_ns]


def is_younger(made: Path, source: Path) -> bool:
    """Tell whether a file is there that was written after its source last changed.

    All that can be known of a file whose origin was not noted.
    """
    try:
        return made.stat().st_mtime_ns >= source.stat().st_mtime_ns
    except OSError:
        return False


# Of what a command writes to a folder.
LOG_NAME = ".origins.jsonl"


class Origins:
    """Log of the sources that a folder's files were made from: JSON lines of one process.

    Args:
        path: Of the log. Lines of earlier runs count, the last of a name; a torn one does not.

    Attributes:
        is_new: Whether there was no log yet.

    Raises:
        ValueError: A line is no JSON object.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Of a folder that an earlier version has filled nothing is known.
        self.is_new = not path.is_file()
        cut_torn_line(path)
        rows = read_json_lines(path, required=("made", "of"), missing_ok=True)
        self._known: dict[str, str] = {row["made"]: row["of"] for row in rows}

    def begin(self, kept: Mapping[Path, str], anew: Iterable[Path]) -> None:
        """Begin a run: take over what a folder without a log has, and forget what is made anew.

        Args:
            kept: Digests of the files that are left as they are, by file; noted in a new log, so
                that a change shows from here on.
            anew: Files that the run makes.
        """
        if self.is_new:
            # Made at once: what a kill leaves without a line is known to be of nothing.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            for file, digest in kept.items():
                self.note(file, digest)
        self.forget(anew)

    def is_current(self, file: Path, digest: str) -> bool:
        """Tell whether a file is there and was made from what has this digest."""
        return self._known.get(self._name(file)) == digest and file.is_file()

    def forget(self, files: Iterable[Path]) -> None:
        """Note that files are about to be made anew: a kill must not leave them an old digest."""
        for file in files:
            if self._known.get(self._name(file)):
                self.note(file, "")

    def note(self, file: Path, digest: str) -> None:
        """Note what a file was made from, once it is whole."""
        name = self._name(file)
        self._known[name] = digest
        append_json_line(self.path, {"made": name, "of": digest})

    def _name(self, file: Path) -> str:
        """A file's name from the log's folder on, so that both can be moved."""
        return os.path.relpath(file, self.path.parent)
