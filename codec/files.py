"""Writing files so that they appear only when whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place beside `path` to write to, which takes its name when nothing went wrong.

    Args:
        path: of the file; its folder is made when needed.

    Raises:
        OSError: the disk refused; nothing is left behind, and a file that was there stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)  # mkstemp makes files that only their owner may read
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
