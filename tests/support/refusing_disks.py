"""Disks that refuse: files that may grow no further, folders that cannot be written."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if sys.platform != "win32":
    import resource

needs_limits = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits and capabilities of Linux"
)
# Of the kernel: the version of its sets of capabilities, and writing whatever the mode of a file.
_VERSION, _DAC_OVERRIDE = 0x20080522, 1


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Have the system refuse to write any file beyond so many bytes, as a disk that is full does.

    What a file holds up to there is written: every library meets the refusal in the middle.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have the system refuse to change anything in a folder, for the superuser, too."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths if not path.is_symlink()}
    for path, mode in modes.items():
        path.chmod(mode & 0o555)
    try:
        with _without_override():
            yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextmanager
def _without_override() -> Iterator[None]:
    """Take the right to write any file from this thread, and from those that it starts."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", _VERSION, 0)
    sets = ctypes.create_string_buffer(24)  # effective, permitted, inheritable, twice 32 bits
    assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
    before = sets.raw
    effective, *others = struct.unpack("6I", before)
    lowered = struct.pack("6I", effective & ~(1 << _DAC_OVERRIDE), *others)
    assert libc.capset(header, lowered) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0, os.strerror(ctypes.get_errno())
