from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from codec import CodecConfig, HHCodec
from codec.distillation.config import PerceptualConfig
from codec.distillation.perceptual import PerceptualLoss, state_distance
from codec.model.config import MelConfig
from codec.model.mel import LogMel
from codec.model.whisper_encoder import WhisperEncoder
from codec.training.config import LossWeights, PhaseConfig
from codec.training.module import CodecTraining
from codec.training.validation import validate

MEL = MelConfig(floor=1e-2)


@pytest.fixture
def model(tmp_path: Path) -> PerceptualConfig:
    """A Whisper of random weights."""
    (tmp_path / "config.json").write_text(
        '{"model_type": "whisper", "num_mel_bins": 80, "d_model": 16, "encoder_layers": 2,'
        ' "encoder_attention_heads": 2}'
    )
    state = WhisperEncoder(16, 2, 2).state_dict()
    save_file({f"model.encoder.{k}": v for k, v in state.items()}, tmp_path / "model.safetensors")
    return PerceptualConfig(model=str(tmp_path))


def test_equal_states_are_at_zero_and_scale_and_offset_do_not_count() -> None:
    states = [torch.randn(2, 5, 16) for _ in range(3)]
    assert float(state_distance(states, states)) == 0
    moved = [3 * one + 1 for one in states]
    assert float(state_distance(states, moved)) < 1e-6
    # independent states: the variance of a difference of two unit variances
    assert float(state_distance([torch.randn(4, 50, 256)], [torch.randn(4, 50, 256)])) == (
        pytest.approx(2.0, rel=0.05)
    )


def test_the_gradient_reaches_the_decoded_mel_alone(
    model: PerceptualConfig, make_waveform: Callable[..., np.ndarray]
) -> None:
    loss = PerceptualLoss(model, MEL)
    target = LogMel(MEL)(torch.from_numpy(make_waveform(1.024))[None])
    decoded = (target + 0.3 * torch.randn_like(target)).requires_grad_()
    value = loss(decoded, target)
    value.backward()
    assert 0 < value.item() < 2
    assert decoded.grad is not None
    assert float(decoded.grad.abs().sum()) > 0
    assert float(loss(target, target)) == 0
    assert all(p.grad is None for p in loss.encoder.parameters())


def test_a_missing_model_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match=r"perceptual.model: expected a folder"):
        PhaseConfig(weights=LossWeights(mel=1.0, perceptual=2.0))


def test_an_encoder_with_speech_features_trains_and_leaves_the_recogniser_alone(
    model: PerceptualConfig, make_waveform: Callable[..., np.ndarray]
) -> None:
    config = CodecConfig.preset("tiny")
    encoder = replace(config.encoder, speech_layers=2, speech_dim=16, speech_heads=2)
    codec = HHCodec(replace(config, encoder=encoder))
    phase = PhaseConfig(
        train=("encoder", "quantizer", "decoder"),
        weights=LossWeights(mel=1.0, vq=1.0, perceptual=2.0),
        perceptual=model,
    )
    training = CodecTraining(codec, phase, seed=0)
    waveform = torch.from_numpy(make_waveform(1.024))[None]
    losses = training.losses(training.forward_pass(waveform, 0), waveform)
    assert set(losses) == {"mel", "vq", "perceptual"}
    sum(losses.values(), torch.zeros(())).backward()
    speech = codec.get_submodule("encoder.speech")
    gradient = speech.get_parameter("project.weight").grad
    assert gradient is not None
    assert float(gradient.abs().sum()) > 0
    assert all(p.grad is None for p in speech.get_submodule("whisper").parameters())
    found = validate(codec.eval(), phase, waveform, None, perceptual=training.perceptual)
    assert "perceptual" in found.metrics


def test_a_vocoder_learns_from_the_states_of_its_own_waveform(
    model: PerceptualConfig, make_waveform: Callable[..., np.ndarray]
) -> None:
    codec = HHCodec(CodecConfig.preset("tiny"))
    codec.quantizer.enable()
    phase = PhaseConfig(
        train=("vocoder",),
        weights=LossWeights(waveform_perceptual=1.0),
        perceptual=model,
    )
    training = CodecTraining(codec, phase, seed=0)
    waveform = torch.from_numpy(make_waveform(1.024))[None]
    losses = training.losses(training.forward_pass(waveform, 0), waveform)
    assert set(losses) == {"waveform_perceptual"}
    losses["waveform_perceptual"].backward()
    gradients = [p.grad for p in codec.vocoder.parameters() if p.grad is not None]
    assert sum(float(each.abs().sum()) for each in gradients) > 0
    assert all(p.grad is None for p in codec.decoder.parameters())
    # Validation shows both, so that what the vocoder adds is seen.
    found = validate(codec.eval(), phase, waveform, None, perceptual=training.perceptual)
    assert {"perceptual", "waveform_perceptual"} <= set(found.metrics)
