"""Distillation and folders of recordings within a training phase."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from codec import CodecConfig, HHCodec
from codec.audio.sources import AudioSource, FolderSource
from codec.distillation.config import SemanticConfig
from codec.distillation.loss import Distillation
from codec.training.config import FitConfig, LossWeights, PhaseConfig
from codec.training.fit import fit_codec_phase
from codec.training.module import CodecTraining

FIT = FitConfig(seed=1, log_every=1, validate_every=8, checkpoint_every=4, num_workers=2)
PHASE = PhaseConfig(
    name="distilled",
    train=("encoder", "quantizer", "decoder"),
    steps=8,
    batch_size=4,
    crop_codes=8,
    quantize_from=2,
    warmup_steps=2,
    weights=LossWeights(mel=0.1, vq=0.1, semantic=10.0),
    semantic=SemanticConfig("mfcc"),
)


class Killed(Exception):
    """Ends a run in the middle of a step."""


@pytest.fixture
def sources(
    tmp_path: Path, make_waveform: Callable[..., np.ndarray]
) -> list[tuple[AudioSource, float | None]]:
    for seed in range(4):
        folder = tmp_path / ("near" if seed < 2 else "far")
        folder.mkdir(exist_ok=True)
        waveform = make_waveform(1.5, pitch=90 + 30 * seed, seed=seed)
        soundfile.write(folder / f"{seed}.flac", waveform, 24_000)
    near = FolderSource(tmp_path / "near", 24_000, -23.0)
    return [(near, 1.0), (FolderSource(tmp_path / "far", 24_000, -23.0), 2.0)]


def fit(
    phase: PhaseConfig, sources: list[tuple[AudioSource, float | None]], folder: Path
) -> CodecTraining:
    torch.manual_seed(5)
    codec = HHCodec(CodecConfig.preset("tiny"))
    return fit_codec_phase(codec, phase, sources, sources[0][0], folder, config=FIT)


def semantic_losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["semantic"] for line in lines if line["split"] == "train"]


def test_a_phase_learns_from_its_teacher_on_the_fly_and_from_a_cache(
    sources: list[tuple[AudioSource, float | None]], tmp_path: Path
) -> None:
    module = fit(PHASE, sources, tmp_path / "fly")
    losses = semantic_losses(tmp_path / "fly")
    assert losses[-1] < losses[0]
    cached = SemanticConfig("mfcc", cache=str(tmp_path / "cache"))
    fit(replace(PHASE, semantic=cached), sources, tmp_path / "cached")
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 2
    assert semantic_losses(tmp_path / "cached")[0] == pytest.approx(losses[0], abs=0.05)
    names = {name for name, _ in module.named_parameters() if "distillation" in name}
    assert names == {"distillation.head.weight", "distillation.head.bias"}
    assert not any("distillation" in name for name in module.codec.state_dict())


def test_a_distilled_phase_resumes_to_the_same_weights(
    sources: list[tuple[AudioSource, float | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fit(PHASE, sources, tmp_path / "whole")
    loss, calls = Distillation.loss, []

    def fatal(self, *args: Any, **kwargs: Any) -> Tensor:
        calls.append(None)
        if len(calls) == 7:
            raise Killed
        return loss(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "loss", fatal)
        with pytest.raises(Killed):
            fit(PHASE, sources, tmp_path / "killed")
    assert (tmp_path / "killed" / "last.ckpt").is_file()
    resumed = fit(PHASE, sources, tmp_path / "killed")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
