"""SHA-256 sums of files."""

from __future__ import annotations

import hashlib
import os
from typing import IO

from .reading import open_file

_CHUNK = 1 << 20


def sha256_of(source: str | os.PathLike[str] | IO[bytes]) -> str:
    """Compute the SHA-256 of a file, 64 hex digits.

    Args:
        source: A path, or an open file, which is read from where it stands to its end.

    Raises:
        OSError: The file is missing or cannot be read.
    """
    if isinstance(source, str | os.PathLike):
        with open_file(source) as file:
            return sha256_of(file)
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
