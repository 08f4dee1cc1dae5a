from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from codec.model.config import BIGVGAN_MEL, MelConfig
from codec.model.mel import LogMel

ASSETS = Path(__file__).parent.parent / "assets"


@pytest.mark.parametrize("padding", ["same", "center"])
def test_log_mel_equals_the_vocos_feature_extractor(padding):
    """The asset holds what vocos 0.1.0 with torchaudio 2.11.0 computes for the same waveform."""
    golden = load_file(ASSETS / "vocos_mel.safetensors")
    mel = LogMel(MelConfig(padding=padding))(golden["waveform"])
    assert mel.shape == golden[padding].shape
    # Transforms of different processors differ by roundings of the loudest bin.
    atol = 2e-6 * float(golden[padding].max().exp())
    torch.testing.assert_close(mel.exp(), golden[padding].exp(), rtol=1e-4, atol=atol)


def slaney_hz(mel):
    """Slaney's scale in words: 200/3 Hz a mel to 1 kHz, then 27 mels for every factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((np.maximum(mel, 15) - 15) / 27))


def test_log_mel_equals_the_formula_of_bigvgan(make_waveform):
    """Frame by frame in float64: mirrored ends, Hann window, Slaney filters of unit area."""
    waveform = make_waveform(0.5)[:8192].astype(np.float64)
    waveform[3000:5000] = 0.0
    padded = np.pad(waveform, 384, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    frames = np.stack([padded[i * 256 : i * 256 + 1024] * window for i in range(32)])
    magnitude = np.sqrt(np.abs(np.fft.rfft(frames)) ** 2 + 1e-9)
    top = 15 + 27 * np.log(12.0) / np.log(6.4)
    edges, bins = slaney_hz(np.linspace(0, top, 102)), np.linspace(0, 12_000, 513)
    filters = np.stack(
        [
            np.interp(bins, [low, mid, high], [0, 2 / (high - low), 0], left=0, right=0)
            for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False)
        ]
    )
    expected = np.log(np.maximum(filters @ magnitude.T, 1e-5))
    mel = LogMel(BIGVGAN_MEL)(torch.from_numpy(waveform).float()[None])
    assert mel.shape == (1, 100, 32)
    assert expected.min() == pytest.approx(np.log(1e-5), abs=1.0)
    np.testing.assert_allclose(mel[0].numpy(), expected, atol=2e-3)


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
