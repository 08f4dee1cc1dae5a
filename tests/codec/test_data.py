import numpy as np
import pytest
import torch

from codec.data import CropBatches
from codec.store import AudioStore, AudioStoreWriter


@pytest.fixture
def store(tmp_path, make_waveform):
    with AudioStoreWriter(tmp_path / "train", 24_000) as writer:
        for seed, duration in enumerate((0.2, 1.0, 3.0)):
            writer.add(make_waveform(duration, seed=seed), {"id": str(seed)})
    return AudioStore(tmp_path / "train")


def test_a_batch_depends_on_seed_and_number_alone(store):
    first = CropBatches(store, 4, 2048, seed=7)
    later = CropBatches(store, 4, 2048, seed=7, start=3)
    walked = [batch for (_, batch), _ in zip(first, range(5), strict=False)]
    number, resumed = next(iter(later))
    assert number == 3
    assert torch.equal(resumed, walked[3])
    assert not torch.equal(CropBatches(store, 4, 2048, seed=8).batch(3), resumed)


def test_every_second_of_audio_is_equally_likely(store, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        store, "crop", lambda clip, start, size: drawn.append(clip) or np.zeros(size, np.float32)
    )
    CropBatches(store, 4200, 16, seed=0).batch(0)
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, np.array([0.2, 1.0, 3.0]) / 4.2, atol=0.03)


def test_short_clips_are_padded_on_the_right(store):
    batch = CropBatches(store, 64, 24_000 * 4, seed=0).batch(0)
    assert batch.shape == (64, 96_000)
    assert batch[:, 72_001:].abs().max() == 0


def test_an_empty_store_is_refused(tmp_path):
    with AudioStoreWriter(tmp_path, 24_000):
        pass
    with pytest.raises(ValueError, match="at least one clip"):
        CropBatches(AudioStore(tmp_path), 4, 2048, seed=0)
