from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec.audio.store import AudioStore, AudioStoreWriter


@pytest.fixture
def store(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> AudioStore:
    with AudioStoreWriter(tmp_path / "audio", 24_000) as writer:
        for seed in range(6):
            writer.add(make_waveform(1.0, pitch=90 + 30 * seed, seed=seed), {"id": str(seed)})
    return AudioStore(tmp_path / "audio")
