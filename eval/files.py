"""JSON lines that survive a kill, and files that appear only when whole."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> Path:
    """Writes text (UTF-8) beside `path`, then moves it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files that only their owner reads; a report is there to be shared.
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path


def json_text(value: Any) -> str:
    """Indented JSON with a final newline; NaN is refused, as no other reader accepts it."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file, [] where there is none; a torn last line is left out.

    Raises:
        ValueError: Any other line that is not a JSON object.
    """
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}")
        rows.append(row)
    return rows


def cut_torn_line(path: Path) -> None:
    """Cuts what a killed writer left after the last newline, so that appending stays valid."""
    if path.is_file():
        whole = path.read_bytes().rfind(b"\n") + 1
        if whole != path.stat().st_size:
            os.truncate(path, whole)
