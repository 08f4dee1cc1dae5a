"""SHA-256 sums of files, by path and from where an open file stands."""

from __future__ import annotations

import hashlib
import os

import pytest

from codec.files import sha256_of, write_bytes


def test_sums_are_those_of_hashlib(tmp_path):
    content = os.urandom(3_000_000)
    path = write_bytes(tmp_path / "a.bin", content)
    assert sha256_of(path) == sha256_of(str(path)) == hashlib.sha256(content).hexdigest()
    with path.open("rb") as file:
        file.seek(10)
        assert sha256_of(file) == hashlib.sha256(content[10:]).hexdigest()
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "none")
