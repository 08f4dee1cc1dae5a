from __future__ import annotations

import pytest
import torch

from codec.training.losses import (
    MultiScaleMel,
    discriminator_hinge,
    feature_matching,
    generator_hinge,
    mel_l1,
    pitch_loss,
)


def test_mel_distance_takes_no_further_logarithm() -> None:
    """The reference took the log of a log-mel: negative predictions then had no gradient."""
    target = torch.full((1, 100, 4), -5.0)
    mel = torch.full((1, 100, 4), -3.0, requires_grad=True)
    loss = mel_l1(mel, target)
    loss.backward()
    assert loss.item() == 2.0
    torch.testing.assert_close(mel.grad, torch.full_like(mel, 1 / 400))


def test_losses_are_fp32_for_half_precision_inputs() -> None:
    half = torch.randn(1, 8, 4).bfloat16()
    assert mel_l1(half, half).dtype == torch.float32
    assert generator_hinge([half]).dtype == torch.float32
    assert discriminator_hinge([half], [half]).dtype == torch.float32
    assert feature_matching([[half]], [[half]]).dtype == torch.float32


def test_hinge_losses_are_zero_beyond_the_margin() -> None:
    sure, fooled = torch.tensor([2.0]), torch.tensor([-2.0])
    assert discriminator_hinge([sure], [fooled]).item() == 0.0
    assert discriminator_hinge([fooled], [sure]).item() == 6.0
    assert generator_hinge([sure]).item() == 0.0
    assert generator_hinge([fooled]).item() == 3.0


def test_feature_matching_sends_no_gradient_to_real_features() -> None:
    real = torch.ones(2, requires_grad=True)
    fake = torch.zeros(2, requires_grad=True)
    feature_matching([[real]], [[fake]]).backward()
    assert real.grad is None
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0


def test_multi_scale_distance_is_zero_for_equal_waveforms_and_grows_with_noise() -> None:
    distance = MultiScaleMel(24_000)
    waveform = torch.randn(1, 8192)
    noise = torch.randn(1, 8192)
    assert distance(waveform, waveform).item() == 0.0
    assert distance(waveform + noise, waveform) > distance(waveform + 0.1 * noise, waveform) > 0


def test_the_pitch_loss_is_zero_of_a_network_that_agrees_and_ignores_pitch_where_unvoiced() -> None:
    pitch = torch.tensor([[100.0, 200.0, 555.0]])
    voiced = torch.tensor([[True, True, False]])
    octaves = torch.tensor([[100.0, 200.0, 60.0]]).log2()
    sure = torch.tensor([[50.0, 50.0, -50.0]])
    assert pitch_loss(octaves, sure, pitch, voiced) < 1e-6
    octave_off = pitch_loss(octaves + torch.tensor([[1.0, 0.0, 0.0]]), sure, pitch, voiced)
    assert octave_off == pytest.approx(1.0)
    silent = torch.zeros_like(voiced)
    assert pitch_loss(octaves, -sure.abs(), pitch, silent).isfinite()
