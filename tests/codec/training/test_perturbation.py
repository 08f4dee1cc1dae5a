from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from codec.audio.store import AudioStore
from codec.training.checkpoint import describe_batches
from codec.training.config import PerturbationConfig
from codec.training.data import CropBatches
from codec.training.perturbation import (
    Perturbation,
    at_level_of,
    filtered,
    random_noise,
    random_response,
    reverberated,
    rms,
    shifted,
)

RATE = 24_000
EVERY = PerturbationConfig(gain=6, equalizer=6, pitch=2, noise=1.0, reverberation=1.0)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tone(hz: float, seconds: float = 1.0) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


def peak_hz(crop: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(crop * np.hanning(len(crop))))
    return float(np.argmax(spectrum)) * RATE / len(crop)


def batches(store: AudioStore, config: PerturbationConfig | None = EVERY) -> CropBatches:
    return CropBatches(store, 4, 4096, seed=7, perturbation=config)


@pytest.mark.parametrize("semitones", [-3.0, 0.0, 4.0])
def test_a_shift_moves_the_pitch_and_keeps_length_and_level(semitones: float) -> None:
    crop = tone(440.0)
    found = shifted(crop, semitones)
    assert found.shape == crop.shape
    assert peak_hz(found) == pytest.approx(440.0 * 2 ** (semitones / 12), abs=2.0)
    assert rms(found) == pytest.approx(rms(crop), rel=0.05)


def test_a_shift_keeps_the_tempo() -> None:
    clicks = tone(500.0, 2.0) * (np.arange(2 * RATE) % 12_000 < 2_400)
    found = shifted(clicks.astype(np.float32), 3.0)
    power = np.convolve(found**2, np.ones(480) / 480, "same")
    begins = np.flatnonzero(np.diff((power > 0.1).astype(int)) == 1)
    np.testing.assert_allclose(begins, [0, 12_000, 24_000, 36_000][-len(begins) :], atol=700)


def test_an_equalizer_stays_within_its_bounds_and_leaves_the_timing() -> None:
    gains = random_response(RATE, RATE, 6.0, chance())
    assert np.abs(20 * np.log10(gains)).max() <= 3 + 3 * 6.0
    assert np.ptp(gains) > 0
    click = np.zeros(RATE, np.float32)
    click[9_000] = 1.0
    assert np.argmax(np.abs(filtered(click, gains))) == 9_000


def test_noise_comes_at_the_ratio_asked_for(make_waveform: Callable[..., Any]) -> None:
    crop = np.asarray(make_waveform(1.0))
    config = PerturbationConfig(noise=1.0, noise_snr=(10.0, 10.0))
    found = Perturbation(config, RATE).degraded(crop, chance())
    scale = float(found @ crop) / float(crop @ crop)
    noise = found - scale * crop
    ratio = 20 * np.log10(rms(scale * crop) / rms(noise))
    assert ratio == pytest.approx(10.0, abs=0.5)
    assert rms(found) == pytest.approx(rms(crop), rel=1e-3)


def test_noise_has_unit_level_and_differs_from_draw_to_draw() -> None:
    first, second = (random_noise(RATE, RATE, chance(seed)) for seed in (1, 2))
    assert rms(first) == pytest.approx(1.0, rel=1e-3)
    assert abs(float(first @ second)) / RATE < 0.5


def test_a_room_leaves_the_direct_sound_at_its_place() -> None:
    click = np.zeros(RATE, np.float32)
    click[5_000] = 1.0
    found = reverberated(click, RATE, (0.3, 0.3), chance())
    assert np.argmax(np.abs(found)) == 5_000
    assert np.abs(found[:5_000]).max() < 1e-6
    # 60 dB over 0.3 s: a tenth of a second later the tail has lost 20 dB
    early, late = rms(found[5_500:6_500]), rms(found[7_900:8_900])
    assert 20 * np.log10(early / late) == pytest.approx(20, abs=3)


def test_gain_stays_below_full_scale_and_silence_stays_silent() -> None:
    config = PerturbationConfig(gain=40.0)
    for seed in range(8):
        loud = Perturbation(config, RATE).changed_recording(0.5 * tone(200.0), chance(seed))
        assert np.abs(loud).max() <= 1.0
    silence = np.zeros(4096, np.float32)
    every = Perturbation(EVERY, RATE)
    assert not every.degraded(every.changed_recording(silence, chance()), chance()).any()
    assert not at_level_of(tone(200.0), np.zeros(RATE, np.float32)).any()


def test_inputs_are_noisy_and_targets_clean(store: AudioStore) -> None:
    config = PerturbationConfig(noise=0.5, reverberation=0.5)
    found = CropBatches(store, 64, 4096, seed=7, perturbation=config)
    clean, noisy = found.batch(0), found.inputs(0)
    assert torch.equal(clean, CropBatches(store, 64, 4096, seed=7).batch(0))
    changed = (clean != noisy).any(dim=1).float().mean()
    assert 0.6 < float(changed) < 0.9  # 3 of 4 expected
    level = noisy.square().mean(1).sqrt() / clean.square().mean(1).sqrt()
    torch.testing.assert_close(level, torch.ones(64), rtol=1e-3, atol=0)


def test_perturbed_batches_depend_on_seed_and_number_alone(store: AudioStore) -> None:
    wanted = [(batches(store).batch(n), batches(store).inputs(n)) for n in range(3, 6)]
    found = CropBatches(store, 4, 4096, seed=7, start=3, perturbation=EVERY)
    for workers in (0, 2):
        loader = DataLoader(found, batch_size=None, num_workers=workers)
        for (clean, noisy), (_, *given) in zip(wanted, loader, strict=False):
            assert torch.equal(given[0], clean)
            assert torch.equal(given[1], noisy)


def test_processes_perturb_their_rows_as_one_would(store: AudioStore) -> None:
    whole, parts = batches(store).inputs(5), []
    for rank in range(2):
        mine = batches(store)
        mine.rank, mine.processes = rank, 2
        parts.append(mine.inputs(5))
    assert torch.equal(torch.cat(parts), whole)


def test_without_changes_of_the_input_there_is_one_tensor(store: AudioStore) -> None:
    for config in (None, PerturbationConfig(gain=3.0)):
        found = next(iter(batches(store, config)))
        assert found.inputs is None
        assert torch.equal(batches(store, config).inputs(0), found[1])


def test_a_checkpoint_knows_perturbations_that_change_something(store: AudioStore) -> None:
    assert describe_batches(batches(store, None))["perturbation"] is None
    described = describe_batches(batches(store, PerturbationConfig(noise=0.5)))["perturbation"]
    assert described["noise"] == 0.5
    assert described["noise_snr"] == [5.0, 30.0]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"gain": -1.0}, "gain"),
        ({"equalizer": 90.0}, "equalizer"),
        ({"pitch": 20.0}, "pitch"),
        ({"noise": 1.5}, "noise"),
        ({"reverberation": -0.1}, "reverberation"),
        ({"noise_snr": (9.0, 3.0)}, "noise_snr"),
        ({"reverberation_seconds": (0.0, 1.0)}, "reverberation_seconds"),
    ],
)
def test_perturbations_out_of_range_are_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"perturbation.{field}: expected"):
        PerturbationConfig(**values)
