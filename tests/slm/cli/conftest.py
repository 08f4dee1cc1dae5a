"""Models and a recording for calls of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec.audio import write_audio

Waveforms = Callable[..., np.ndarray]


@pytest.fixture
def models(model_folders: tuple[Path, Path]) -> list[str]:
    codec, lm = model_folders
    return ["--codec", str(codec), "--lm", str(lm)]


@pytest.fixture
def recording(make_waveform: Waveforms, tmp_path: Path) -> str:
    path = tmp_path / "recording.wav"
    write_audio(path, make_waveform(duration=0.5))
    return str(path)
