"""A tiny codec, recordings, and a caller of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec import HHCodec
from codec.audio.io import write_audio
from codec.cli.main import main
from tests.support.codecs import tiny_codec


def _saved(folder: Path, seed: int = 0) -> HHCodec:
    codec = tiny_codec(seed=seed)
    codec.save_pretrained(folder)
    return codec


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> tuple[HHCodec, str]:
    """A tiny codec and the folder it lies in."""
    folder = tmp_path_factory.mktemp("codec")
    return _saved(folder), str(folder)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A caller of the command line: exit status, standard output, standard error."""

    def run(*argv: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def recordings(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    """A tree of recordings of several kinds, two that cannot be read, and a text."""
    folder = tmp_path / "recordings"
    write_audio(folder / "a.wav", make_waveform(0.5))
    write_audio(folder / "deep" / "b.flac", make_waveform(0.3, seed=1))
    stereo = np.stack([make_waveform(0.2, sample_rate=16_000)] * 2, axis=1)
    soundfile.write(folder / "deep" / "c.ogg", stereo, 16_000)
    (folder / "empty.wav").touch()
    (folder / "deep" / "text.flac").write_text("not audio")
    (folder / "notes.txt").write_text("a text")
    return folder


@pytest.fixture
def save_codec() -> Callable[..., HHCodec]:
    """A writer of tiny codecs to folders, one a seed."""
    return _saved
