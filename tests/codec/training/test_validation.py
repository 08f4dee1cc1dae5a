from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from codec import CodecConfig, HHCodec
from codec.distillation.config import SemanticConfig
from codec.distillation.loss import Distillation
from codec.run_logs import RunLogs, mel_picture
from codec.training import validation as validation_module
from codec.training.config import LossWeights, PhaseConfig
from codec.training.losses import MultiScaleMel
from codec.training.validation import Dashboard, Validation, mean_stoi, stoi_is_missing, validate

PHASE = PhaseConfig(weights=LossWeights(mel=1.0, vq=1.0))


@pytest.fixture
def codec() -> HHCodec:
    torch.manual_seed(5)
    codec = HHCodec(CodecConfig.preset("tiny"))
    codec.quantizer.initialize(torch.randn(100, 8), 0)
    return codec.eval()


@pytest.fixture
def speech(make_waveform: Callable[..., np.ndarray]) -> Tensor:
    clips = [make_waveform(0.8, pitch=100 + 40 * n, seed=n)[: 18 * 1024] for n in range(2)]
    return torch.stack([torch.from_numpy(clip) for clip in clips])


def test_intelligibility_is_one_for_a_copy_and_falls_with_noise(speech: Tensor) -> None:
    pytest.importorskip("pystoi")
    assert mean_stoi(speech, speech, 24_000) == pytest.approx(1.0, abs=1e-3)
    noisy = mean_stoi(speech, speech + 0.3 * torch.randn_like(speech), 24_000)
    assert noisy is not None
    assert noisy < 0.9


def test_crops_with_too_little_speech_have_no_intelligibility(speech: Tensor) -> None:
    pytest.importorskip("pystoi")
    assert mean_stoi(speech[:, :4096], speech[:, :4096], 24_000) is None
    silent = torch.zeros_like(speech)
    silent[:, :2000] = speech[:, :2000]
    assert mean_stoi(silent, silent, 24_000) is None


def test_a_phase_without_a_vocoder_is_validated_through_the_codecs(
    codec: HHCodec, speech: Tensor
) -> None:
    pytest.importorskip("pystoi")
    found = validate(codec, PHASE, speech, None)
    assert set(found.metrics) == {
        "mel", "vq", "relative_error", "tokens", "codes_used", "dead_codes", "entropy",
        "perplexity", "stoi",
    }  # fmt: skip
    assert found.metrics["tokens"] == 2 * 18
    assert found.waveforms.shape == speech.shape
    assert found.mel.shape == found.target.shape == (2, 100, 72)
    with torch.no_grad():
        expected = codec.vocoder(codec.decode_mel(codec.encode(speech)[0]))
    # `encode` scales to one loudness first, which these clips have to within a little
    assert expected.shape == found.waveforms.shape


def test_losses_of_weight_zero_are_validated(codec: HHCodec, speech: Tensor) -> None:
    phase = replace(PHASE, weights=LossWeights(waveform_mel=1.0))
    found = validate(codec, phase, speech, MultiScaleMel(24_000))
    assert {"mel", "vq", "waveform_mel"} <= set(found.metrics)


def test_validation_neither_trains_nor_draws(codec: HHCodec, speech: Tensor) -> None:
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    state = torch.get_rng_state()
    first = validate(codec, PHASE, speech, None).metrics
    assert torch.equal(torch.get_rng_state(), state)
    assert validate(codec, PHASE, speech, None).metrics == first
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())


def test_padding_of_a_crop_is_not_distilled(codec: HHCodec, speech: Tensor) -> None:
    phase = replace(PHASE, semantic=SemanticConfig(teacher="mfcc"))
    distillation = Distillation(phase.semantic, 8, codec.frame_rate, codec.sample_rate)
    lengths = torch.tensor([18 * 1024, 9 * 1024])
    speech[1, lengths[1] :] = 0.0
    found = validate(codec, phase, speech, None, distillation, lengths=lengths)
    quantized = codec.quantizer.decode(codec.encode_scaled(speech))
    expected = distillation.loss(quantized, speech, lengths).item()
    assert found.metrics["semantic"] == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(distillation.loss(quantized, speech).item(), rel=1e-3)


def test_a_missing_pystoi_is_noticed_and_stops_nothing(
    codec: HHCodec, speech: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pystoi", None)
    stoi_is_missing.cache_clear()
    try:
        found = validation_module.validate(codec, PHASE, speech, None)
    finally:
        stoi_is_missing.cache_clear()
    assert "stoi" not in found.metrics
    assert [notice.split(":")[0] for notice in found.notices] == ["no stoi"]
    assert 'pip install "pystoi' in found.notices[0]


def test_a_mel_picture_has_both_mels_in_the_targets_range() -> None:
    target = torch.tensor([[-4.0, 0.0], [-2.0, -2.0]])  # (M, F), the lowest band first
    picture = mel_picture(target, target + 10.0)
    assert picture.shape == (1, 2 * 2 + 2, 2)
    assert picture[0, :2].tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert picture[0, 4:].min() == 1.0


def test_a_run_can_be_looked_at_and_listened_to(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    mels, waveforms = torch.randn(2, 10, 8), torch.randn(2, 2400)
    dashboard = Dashboard(RunLogs(tmp_path, tensorboard=True), 24_000, num_clips=1)
    dashboard.open(0)
    dashboard.scalars(3, "train", {"mel": 0.5})
    dashboard.show(3, Validation({}, waveforms, 2 * waveforms, mels, mels))
    dashboard.close()
    events = accumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert tags["scalars"] == ["train/mel"]
    assert tags["images"] == ["mel/0"]
    assert sorted(tags["audio"]) == ["decoded/0", "recorded/0"]


def test_a_resumed_run_replaces_what_lies_beyond_its_step(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    for first, steps in ((0, (1, 2, 3)), (1, (2,))):
        dashboard = Dashboard(RunLogs(tmp_path, tensorboard=True), 24_000)
        dashboard.open(first)
        for step in steps:
            dashboard.scalars(step, "train", {"mel": 1.0})
        dashboard.close()
        time.sleep(1.1)  # the second's file is named after the clock
    events = accumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/mel")] == [1, 2]
