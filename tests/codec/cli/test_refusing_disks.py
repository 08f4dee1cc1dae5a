"""What `hh-codec` writes to a disk that is full, and to a folder that cannot be written."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from codec import HHCodec
from codec.audio.io import write_audio
from codec.files.derived import LOG_NAME
from tests.support.refusing_disks import full_disk, needs_limits, read_only

Call = Callable[..., tuple[int, str, str]]
pytestmark = needs_limits

# Name of the command, of its input and of its output, and bytes below which it cannot be.
COMMANDS = [
    ("encode", "a.wav", "made.hhc", 40),
    ("encode", "a.wav", "made.npy", 40),
    ("encode", "a.wav", "made.pt", 40),
    ("decode", "a.hhc", "made.wav", 4000),
    ("decode", "a.hhc", "made.flac", 4000),
    ("reconstruct", "a.wav", "made.wav", 4000),
    ("reconstruct", "a.wav", "made.flac", 4000),
    ("encode", "in", "made", 40),
    ("reconstruct", "in", "made", 4000),
]


@pytest.fixture
def inputs(
    tmp_path: Path, codec: tuple[HHCodec, str], call: Call, make_waveform: Callable[..., np.ndarray]
) -> Path:
    folder = tmp_path / "inputs"
    write_audio(folder / "a.wav", make_waveform(1.0))
    write_audio(folder / "in" / "a.wav", make_waveform(1.0))
    write_audio(folder / "in" / "b.wav", make_waveform(1.2, seed=1))
    command = ("encode", folder / "a.wav", folder / "a.hhc", "--codec", codec[1])
    assert call(*command)[0] == 0
    return folder


@pytest.mark.parametrize("refused", ["full", "read-only"])
@pytest.mark.parametrize(("name", "source", "target", "size"), COMMANDS)
def test_a_disk_that_refuses_is_told_and_nothing_half_is_left(
    name: str,
    source: str,
    target: str,
    size: int,
    refused: str,
    inputs: Path,
    codec: tuple[HHCodec, str],
    call: Call,
    tmp_path: Path,
) -> None:
    """And once there is room the same command does its work."""
    out = tmp_path / "out"
    out.mkdir()
    command = (name, inputs / source, out / target, "--codec", codec[1])
    disk: AbstractContextManager[None] = full_disk(size) if refused == "full" else read_only(out)
    with disk:
        status, _, told = call(*command)
    assert status == 1, told
    assert "Traceback" not in told
    expected = "too large|cannot be written" if refused == "full" else "Permission denied"
    assert re.search(expected, told), told
    assert not made(out)
    status, _, told = call(*command)
    assert status == 0, told
    assert made(out)


def made(folder: Path) -> list[Path]:
    """Files below a folder but for the log of what they were made from, which names none yet."""
    return [p for p in folder.rglob("*") if p.is_file() and p.name != LOG_NAME]
