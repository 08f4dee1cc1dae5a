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


def test_speed_moves_the_pitch_of_a_crop_by_at_most_its_share(tmp_path):
    rate, pitch = 24_000, 1_000.0
    tone = np.sin(2 * np.pi * pitch * np.arange(4 * rate) / rate).astype(np.float32)
    with AudioStoreWriter(tmp_path, rate) as writer:
        writer.add(tone, {"id": "tone"})
    batch = CropBatches(AudioStore(tmp_path), 64, rate // 2, seed=0, speed=0.2).batch(0)
    assert batch.shape == (64, rate // 2)
    window = torch.hann_window(rate // 2)
    heard = torch.fft.rfft(batch * window).abs().argmax(1) * 2.0  # Hz
    assert 1000 / 1.21 < heard.min() < 870
    assert 1150 < heard.max() < 1210


def test_a_speed_that_is_no_share_is_refused(store):
    with pytest.raises(ValueError, match=r"speed in \[0, 0.5\), got 0.5"):
        CropBatches(store, 4, 2048, seed=0, speed=0.5)
