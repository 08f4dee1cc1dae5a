from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from codec.config import MelConfig
from codec.mel import LogMel, MultiScaleMel

ASSETS = Path(__file__).parent / "assets"


@pytest.mark.parametrize("padding", ["same", "center"])
def test_log_mel_equals_the_vocos_feature_extractor(padding):
    """The asset holds what vocos 0.1.0 with torchaudio 2.11.0 computes for the same waveform."""
    golden = load_file(ASSETS / "vocos_mel.safetensors")
    mel = LogMel(MelConfig(padding=padding))(golden["waveform"])
    assert mel.shape == golden[padding].shape
    torch.testing.assert_close(mel.exp(), golden[padding].exp(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("padding", "extra"), [("same", 0), ("center", 1)])
def test_the_number_of_frames_follows_the_formula(padding, extra):
    mel = LogMel(MelConfig(padding=padding))(torch.randn(2, 4096))
    assert mel.shape == (2, 100, 4096 // 256 + extra)


def test_the_floor_bounds_the_log_mel_from_below():
    mel = LogMel(MelConfig(floor=1e-2))(torch.zeros(1, 4096))
    torch.testing.assert_close(mel, torch.full_like(mel, 1e-2).log())


def test_silence_has_a_finite_gradient():
    waveform = torch.zeros(1, 4096, requires_grad=True)
    LogMel(MelConfig())(waveform).sum().backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()


def test_log_mel_stays_in_fp32_under_autocast():
    waveform = torch.randn(1, 4096)
    front_end = LogMel(MelConfig())
    with torch.autocast("cpu", torch.bfloat16):
        mel = front_end(waveform)
    torch.testing.assert_close(mel, front_end(waveform), rtol=0, atol=0)


def test_multi_scale_distance_is_zero_for_equal_waveforms_and_grows_with_noise():
    distance = MultiScaleMel(24_000)
    waveform = torch.randn(1, 8192)
    noise = torch.randn(1, 8192)
    assert distance(waveform, waveform).item() == 0.0
    assert distance(waveform + noise, waveform) > distance(waveform + 0.1 * noise, waveform) > 0
