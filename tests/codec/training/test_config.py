"""Settings of codec training."""

from __future__ import annotations

from typing import Any

import pytest

from codec.audio.store import AudioStore
from codec.training.config import (
    DiscriminatorConfig,
    FitConfig,
    LossWeights,
    PerturbationConfig,
    PhaseConfig,
)
from codec.training.data import CropBatches


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (PhaseConfig, {"steps": 0}),
        (PhaseConfig, {"batch_size": 2.5}),
        (PhaseConfig, {"crop_codes": "8"}),
        (PhaseConfig, {"learning_rate": 1e38}),
        (PhaseConfig, {"discriminator_learning_rate": float("nan")}),
        (PhaseConfig, {"part_rates": {"vocoder": float("inf")}}),
        (PhaseConfig, {"weight_decay": -1.0}),
        (PhaseConfig, {"betas": (0.9, 1.0)}),
        (PhaseConfig, {"max_grad_norm": 0.0}),
        (PhaseConfig, {"noise": float("inf")}),
        (PhaseConfig, {"warmup_steps": -1}),
        (PhaseConfig, {"speed": 0.5}),
        (LossWeights, {"mel": -1.0}),
        (PhaseConfig, {"train": ("encoder", "encoder")}),
        (DiscriminatorConfig, {"mel_channels": 0}),
        (DiscriminatorConfig, {"channels": 0}),
        (DiscriminatorConfig, {"band_channels": -1}),
        (DiscriminatorConfig, {"mel_bands": -1}),
        (DiscriminatorConfig, {"periods": (-2,)}),
        (DiscriminatorConfig, {"n_ffts": (0,)}),
        (DiscriminatorConfig, {"band_n_ffts": (16,)}),
        (PerturbationConfig, {"noise_snr": (5.0,)}),
        (PerturbationConfig, {"noise_snr": (-1e9, 1e9)}),
        (PerturbationConfig, {"reverberation_seconds": (0.1,)}),
        (PerturbationConfig, {"reverberation_seconds": (0.1, 1e5)}),
        (FitConfig, {"log_every": 0}),
        (FitConfig, {"checkpoint_every": 0}),
        (FitConfig, {"num_workers": -1}),
        (FitConfig, {"seed": -1}),
    ],
    ids=str,
)
def test_a_number_out_of_range_is_refused_by_name(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))}\S*: expected .*, got"):
        kind(**wrong)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"crop_samples": 0}, {"seed": -1}], ids=str)
def test_batches_of_no_crops_are_refused(store: AudioStore, wrong: dict[str, int]) -> None:
    settings: dict[str, Any] = {"batch_size": 2, "crop_samples": 256, "seed": 0, **wrong}
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected a whole number"):
        CropBatches(store, **settings)
