from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec.audio.store import AudioStore, AudioStoreWriter


@pytest.fixture(scope="session")
def make_store(make_waveform: Callable[..., np.ndarray]) -> Callable[[Path], AudioStore]:
    """A maker of stores of six clips, a second each."""

    def make(folder: Path) -> AudioStore:
        with AudioStoreWriter(folder, 24_000) as writer:
            for seed in range(6):
                writer.add(make_waveform(1.0, pitch=90 + 30 * seed, seed=seed), {"id": str(seed)})
        return AudioStore(folder)

    return make


@pytest.fixture
def store(tmp_path: Path, make_store: Callable[[Path], AudioStore]) -> AudioStore:
    return make_store(tmp_path / "audio")
