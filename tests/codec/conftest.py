import pytest

from codec.audio.store import AudioStore, AudioStoreWriter


@pytest.fixture
def store(tmp_path, make_waveform):
    with AudioStoreWriter(tmp_path / "audio", 24_000) as writer:
        for seed in range(6):
            writer.add(make_waveform(1.0, pitch=90 + 30 * seed, seed=seed), {"id": str(seed)})
    return AudioStore(tmp_path / "audio")
