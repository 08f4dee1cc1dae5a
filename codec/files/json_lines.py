r"""JSON lines and text tables: one object or one record a line, in UTF-8.

A line ends at `\n` and nowhere else: a JSON string may hold U+0085, U+2028 and U+2029, at which
`str.splitlines` would cut it. A writer that was killed leaves at most one torn line, at the end,
which readers can leave out and `appending` cuts before it goes on.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from .atomic import naming, whole_file
from .json_text import json_text, json_value
from .reading import check_replaceable, open_file

_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = b"\xff\xfe", b"\xfe\xff"
_CHUNK = 1 << 16

Row = dict[str, Any]
Torn = Literal["error", "drop", "keep whole"]


def read_json_lines(
    path: str | os.PathLike[str],
    *,
    torn: Torn = "error",
    required: Collection[str] = (),
    missing_ok: bool = False,
    error: type[ValueError] = ValueError,
) -> list[Row]:
    """Read every object of a JSON-lines file; see `iter_json_lines`.

    Args:
        path: Of the file.
        torn: As `iter_json_lines` takes it.
        required: As `iter_json_lines` takes it.
        missing_ok: Give [] where there is no file.
        error: As `iter_json_lines` takes it.

    Raises:
        ValueError: As `iter_json_lines`.
        OSError: The file cannot be opened.
    """
    if missing_ok and not Path(path).exists():
        return []
    rows = iter_json_lines(path, torn=torn, required=required, error=error)
    return [row for _, row in rows]


def iter_json_lines(
    path: str | os.PathLike[str],
    *,
    torn: Torn = "error",
    required: Collection[str] = (),
    error: type[ValueError] = ValueError,
) -> Iterator[tuple[int, Row]]:
    r"""Read the objects of a JSON-lines file one by one, with the numbers of their lines from 1.

    Blank lines count and are left out.

    Args:
        path: Of the file.
        torn: "drop" leaves out what stands after the last `\n`, which a killed writer was at, even
            where it happens to be an object, since `appending` cuts it. "keep whole" leaves it out
            unless it is an object, of a file that another program may have written. "error" takes
            it as a line like any other, as in a file written by hand.
        required: Keys that every object must have.
        error: Class of the errors.

    Raises:
        ValueError: Not UTF-8, a line that is no JSON object, or one without a required key: names
            the file and the line.
        OSError: The file is missing or cannot be opened.
    """
    for number, line in _raw_lines(path, error):
        if torn == "drop" and not line.endswith(b"\n"):
            return
        if torn == "keep whole" and not line.endswith(b"\n") and not _is_object(line):
            return
        place = f"{path}:{number}"
        text = _decoded(line, place, error)
        if text.strip():
            yield number, _object(text, place, required, error)


def read_lines(
    path: str | os.PathLike[str], *, error: type[ValueError] = ValueError
) -> Iterator[tuple[int, str]]:
    r"""Read the lines of a text file, such as a TSV or Kaldi table, with their numbers from 1.

    Blank lines are given too. `\n` and `\r\n` end a line and are not part of it.

    Args:
        path: Of the file; UTF-8 with or without a byte order mark.
        error: Class of the errors.

    Raises:
        ValueError: Not UTF-8: names the file, and the line where there is one.
        OSError: The file is missing or cannot be opened.
    """
    for number, line in _raw_lines(path, error):
        yield number, _decoded(line, f"{path}:{number}", error)


def write_json_lines(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write one JSON object a line, whole or not at all, and return the path.

    Args:
        path: Of the file.
        rows: Written as they come.

    Raises:
        ValueError: JSON cannot hold a value: names the file, the line and the key.
        OSError: The disk refused.
    """
    path = Path(path)
    with whole_file(path) as partial, partial.open("wb") as file:
        for number, row in enumerate(rows, start=1):
            file.write(_encoded(row, f"{path}:{number}"))
    return path


@contextmanager
def appending(path: str | os.PathLike[str]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Open a JSON-lines file of one writer to go on at its end, after cutting a torn line.

    Args:
        path: Of the file; it and its folder are made when needed.

    Yields:
        A function that writes a row and hands it to the system, so that a kill tears at most the
        last line. It raises ValueError for a row that JSON cannot hold, of which it writes nothing.

    Raises:
        OSError: The disk refused.
    """
    path = Path(path)
    check_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_torn_line(path)
    with path.open("ab") as file:

        def append(row: Mapping[str, Any]) -> None:
            with naming(path):
                file.write(_encoded(row, str(path)))
                file.flush()

        yield append


def append_json_line(path: str | os.PathLike[str], row: Mapping[str, Any]) -> None:
    """Append one row in one write, so that the lines of several processes do not mix.

    What is torn is not cut, since it may be a line that another process is writing. What a full
    disk takes of this row alone is taken back.

    Args:
        path: Of the file; it and its folder are made when needed.
        row: Written as one line.

    Raises:
        ValueError: JSON cannot hold a value: names the file and the key.
        OSError: The disk refused.
    """
    line = _encoded(row, str(path))
    check_replaceable(path)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # Windows would else translate line ends.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        with naming(Path(path)):
            written = os.write(descriptor, line)
        if written < len(line):
            # A later row would else become part of this one, and the file could not be read.
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            if os.fstat(descriptor).st_size == end:  # nothing of another process is behind it
                os.ftruncate(descriptor, end - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def keep_json_lines(path: str | os.PathLike[str], keep: Callable[[Row], bool]) -> None:
    """Drop the rows of a file that `keep` refuses, and a torn last line; the rest stays as it is.

    Args:
        path: Of the file, which is replaced whole; nothing happens where there is none.
        keep: Told every row.

    Raises:
        ValueError: A line that is no JSON object: names the file and the line.
        OSError: The disk refused.
    """
    if not Path(path).exists():
        return
    kept = []
    for number, line in _raw_lines(path, ValueError):
        place = f"{path}:{number}"
        if not line.endswith(b"\n"):
            break
        text = _decoded(line, place, ValueError)
        if not text.strip() or keep(_object(text, place, (), ValueError)):
            kept.append(line)
    with whole_file(path) as partial:
        partial.write_bytes(b"".join(kept))


def cut_torn_line(path: str | os.PathLike[str]) -> None:
    r"""Cut what a killed writer left after the last `\n`; nothing happens where there is no file.

    Raises:
        OSError: The disk refused.
    """
    if not Path(path).exists():
        return
    with open_file(path) as file:
        size = end = file.seek(0, os.SEEK_END)
        kept = 0
        # Backwards a block at a time: the file may be large, and the line is at its end.
        while end > 0 and not kept:
            start = max(0, end - _CHUNK)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            kept = start + found + 1 if found >= 0 else 0
            end = start
    if kept != size:
        os.truncate(path, kept)


def _raw_lines(
    path: str | os.PathLike[str], error: type[ValueError]
) -> Iterator[tuple[int, bytes]]:
    r"""Lines with their `\n`, numbered from 1, the first one without a byte order mark."""
    with open_file(path) as file:
        for number, line in enumerate(file, start=1):
            if number > 1:
                yield number, line
                continue
            if line.startswith(_UTF16_MARKS) or line[:4].count(b"\0") > 1:
                raise error(f"{path}: expected UTF-8, got UTF-16 or a binary file")
            yield number, line.removeprefix(_MARK)


def _decoded(line: bytes, place: str, error: type[ValueError]) -> str:
    """A line as text, without its end."""
    try:
        return line.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as problem:
        raise error(f"{place}: expected UTF-8, got {problem}") from problem


def _object(text: str, place: str, required: Collection[str], error: type[ValueError]) -> Row:
    """A line as an object that has the required keys."""
    try:
        row = json_value(text)
    except (ValueError, RecursionError) as problem:
        raise error(
            f"{place}: not valid JSON ({problem}), expected an object, got {text[:60]!r}"
        ) from problem
    if not isinstance(row, dict):
        raise error(f"{place}: expected a JSON object, got {type(row).__name__} {text[:60]!r}")
    lacking = [key for key in required if key not in row]
    if lacking:
        raise error(
            f"{place}: expected an object with {', '.join(required)}, got one without "
            f"{', '.join(lacking)}"
        )
    return row


def _is_object(line: bytes) -> bool:
    """True if a line is a whole object; no beginning of one is."""
    try:
        return isinstance(json_value(line.decode()), dict)
    except (ValueError, RecursionError):
        return False


def _encoded(row: Mapping[str, Any], place: str) -> bytes:
    """A row as the bytes of a line."""
    try:
        return json_text(row, indent=None).encode()
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
