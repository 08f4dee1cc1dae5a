from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from codec.audio.store import AudioStore, AudioStoreWriter
from codec.training.config import PerturbationConfig
from codec.training.data import CodecData, CropBatches


@pytest.fixture
def store(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> AudioStore:
    with AudioStoreWriter(tmp_path / "train", 24_000) as writer:
        for seed, duration in enumerate((0.2, 1.0, 3.0)):
            writer.add(make_waveform(duration, seed=seed), {"id": str(seed)})
    return AudioStore(tmp_path / "train")


def test_a_batch_depends_on_seed_and_number_alone(store: AudioStore) -> None:
    first = CropBatches(store, 4, 2048, seed=7)
    later = CropBatches(store, 4, 2048, seed=7, start=3)
    walked = [found[1] for found, _ in zip(first, range(5), strict=False)]
    number, resumed = next(iter(later))[:2]
    assert number == 3
    assert torch.equal(resumed, walked[3])
    assert not torch.equal(CropBatches(store, 4, 2048, seed=8).batch(3), resumed)


def test_every_second_of_audio_is_equally_likely(
    store: AudioStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        store, "crop", lambda clip, start, size: drawn.append(clip) or np.zeros(size, np.float32)
    )
    CropBatches(store, 4200, 16, seed=0).batch(0)
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, np.array([0.2, 1.0, 3.0]) / 4.2, atol=0.03)


def test_short_clips_are_padded_on_the_right(store: AudioStore) -> None:
    batch = CropBatches(store, 64, 24_000 * 4, seed=0).batch(0)
    assert batch.shape == (64, 96_000)
    assert batch[:, 72_001:].abs().max() == 0


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    with AudioStoreWriter(tmp_path, 24_000):
        pass
    with pytest.raises(ValueError, match="at least one clip"):
        CropBatches(AudioStore(tmp_path), 4, 2048, seed=0)


def test_speed_moves_the_pitch_of_a_crop_by_at_most_its_share(tmp_path: Path) -> None:
    rate, pitch = 24_000, 1_000.0
    tone = np.sin(2 * np.pi * pitch * np.arange(4 * rate) / rate).astype(np.float32)
    with AudioStoreWriter(tmp_path, rate) as writer:
        writer.add(tone, {"id": "tone"})
    batch = CropBatches(AudioStore(tmp_path), 64, rate // 2, seed=0, speed=0.2).batch(0)
    assert batch.shape == (64, rate // 2)
    window = torch.hann_window(rate // 2)
    peak = torch.fft.rfft(batch * window).abs().argmax(1) * 2.0  # Hz
    assert 1000 / 1.21 < peak.min() < 870
    assert 1150 < peak.max() < 1210


def test_a_speed_that_is_no_share_is_refused(store: AudioStore) -> None:
    with pytest.raises(ValueError, match=r"speed: expected a number in \[0.0, 0.5\), got 0.5"):
        CropBatches(store, 4, 2048, seed=0, speed=0.5)


@pytest.fixture
def other_store(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> AudioStore:
    with AudioStoreWriter(tmp_path / "other", 24_000) as writer:
        for seed in range(3):
            writer.add(make_waveform(0.5, seed=10 + seed), {"id": f"o{seed}"})
    return AudioStore(tmp_path / "other")


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(
    store: AudioStore, num_workers: int
) -> None:
    batches = CropBatches(store, 2, 2048, seed=7, start=3)
    loader = DataLoader(batches, batch_size=None, num_workers=num_workers)
    for number, found in zip(range(3, 8), loader, strict=False):
        assert found.number == number
        assert torch.equal(found.crops, batches.batch(number))


def trainer_at(step: int, rank: int, processes: int = 1) -> Any:
    return SimpleNamespace(global_step=step, global_rank=rank, world_size=processes)


def test_batches_come_to_spawned_workers_without_the_samples(store: AudioStore) -> None:
    """As macOS, Windows and Python 3.14 start them: pickled."""
    perturbation = PerturbationConfig(gain=6.0, noise=0.5)
    batches = CropBatches(store, 4, 2048, seed=3, speed=0.1, perturbation=perturbation)
    sent = pickle.dumps(batches)
    assert len(sent) < (store.folder / "audio.i16").stat().st_size
    received = pickle.loads(sent)
    for number in range(3):
        torch.testing.assert_close(received.batch(number), batches.batch(number), rtol=0, atol=0)
        torch.testing.assert_close(received.inputs(number), batches.inputs(number), rtol=0, atol=0)


def test_training_resumes_at_its_step_with_workers(store: AudioStore) -> None:
    data = CodecData(CropBatches(store, 2, 2048, seed=7), store, num_workers=2, prefetch=2)
    data.trainer = trainer_at(11, rank=0)
    number, batch = next(iter(data.train_dataloader()))[:2]
    assert number == 11
    assert torch.equal(batch, CropBatches(store, 2, 2048, seed=7).batch(11))


def test_processes_that_train_together_share_the_crops_of_a_batch(store: AudioStore) -> None:
    shares, positions = [], []
    for rank in range(3):
        data = CodecData(CropBatches(store, 6, 2048, seed=7, speed=0.1), store)
        data.trainer = trainer_at(5, rank, processes=3)
        shares.append(next(iter(data.train_dataloader()))[1])
        positions += data.batches.positions(5)
        assert len(data.valid_batch()) == 48
    whole = CropBatches(store, 6, 2048, seed=7, speed=0.1)
    assert torch.equal(torch.cat(shares), whole.batch(5))
    assert positions == whole.positions(5)


def test_sources_give_their_shares_of_the_crops(store: AudioStore, other_store: AudioStore) -> None:
    batches = CropBatches([(store, 1.0), (other_store, 3.0)], 4000, 16, seed=0)
    positions = batches.positions(0)
    assert np.mean([position.source for position in positions]) == pytest.approx(0.75, abs=0.03)
    first = [position.clip for position in positions if position.source == 0]
    shares = np.bincount(first, minlength=3) / len(first)
    np.testing.assert_allclose(shares, np.array([0.2, 1.0, 3.0]) / 4.2, atol=0.05)
    none = CropBatches([(store, 0.0), (other_store, 1.0)], 400, 16, seed=0)
    assert {position.source for position in none.positions(0)} == {1}


def test_sources_without_shares_give_crops_by_their_duration(
    store: AudioStore, other_store: AudioStore
) -> None:
    batches = CropBatches([(store, None), (other_store, None)], 4000, 16, seed=0)
    share = np.mean([position.source for position in batches.positions(0)])
    assert share == pytest.approx(1.5 / 5.7, abs=0.03)


def test_one_source_in_a_list_is_that_source(store: AudioStore) -> None:
    alone = CropBatches(store, 4, 2048, seed=7).batch(3)
    assert torch.equal(CropBatches([(store, None)], 4, 2048, seed=7).batch(3), alone)


@pytest.mark.parametrize("speed", [0.0, 0.3])
def test_positions_are_those_of_the_crops(
    store: AudioStore, other_store: AudioStore, speed: float
) -> None:
    sources = [store, other_store]
    batches = CropBatches([(s, None) for s in sources], 32, 20_000, seed=1, speed=speed)
    for position, crop in zip(batches.positions(5), batches.batch(5), strict=True):
        clip = sources[position.source].waveform(position.clip)[position.start :][: position.taken]
        assert position.length == round(len(clip) * 20_000 / position.taken)
        assert crop[position.length + 300 :].abs().sum() < 1e-4
        if position.taken == 20_000:
            np.testing.assert_array_equal(crop[: position.length], clip)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((0.0, 0.0), "share above 0"),
        ((1.0, -1.0), "share of 0 or more, got -1"),
        ((1.0, None), "for every source or for none"),
        ((), "at least one source"),
    ],
)
def test_shares_that_are_none_are_refused(
    store: AudioStore, shares: tuple[float | None, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CropBatches([(store, share) for share in shares], 4, 2048, seed=0)


def test_sources_of_different_rates_are_refused(
    store: AudioStore, tmp_path: Path, make_waveform: Callable[..., np.ndarray]
) -> None:
    with AudioStoreWriter(tmp_path / "slow", 16_000) as writer:
        writer.add(make_waveform(0.5), {"id": "a"})
    with pytest.raises(ValueError, match="expected 24000 Hz"):
        CropBatches([(store, 1.0), (AudioStore(tmp_path / "slow"), 1.0)], 4, 2048, seed=0)
