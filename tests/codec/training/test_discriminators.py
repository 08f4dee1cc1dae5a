from __future__ import annotations

import pytest
import torch

from codec.training.config import DiscriminatorConfig
from codec.training.discriminators import BandDiscriminator, Discriminators


def test_all_three_kinds_score_side_by_side() -> None:
    config = DiscriminatorConfig((2,), (512,), 4, band_n_ffts=(256, 128), band_channels=4)
    scores, maps = Discriminators(config)(torch.randn(2, 4096))
    assert [len(score) for score in scores] == [2, 2, 2, 2]
    # five convolutions whose first output is left out, and the last layer; in five bands
    assert [len(member) for member in maps] == [5, 21, 21, 21]


def test_bands_cover_every_bin_once() -> None:
    member = BandDiscriminator(512, 2)
    covered = [n for low, high in member.bands for n in range(low, high)]
    assert covered == list(range(257))


def test_the_spectrogram_keeps_the_variance_of_noise_at_every_length() -> None:
    for n_fft in (128, 512):
        spectrogram = BandDiscriminator(n_fft, 2).spectrogram(torch.randn(4, 24_000))
        assert float(spectrogram.square().sum(1).mean()) == pytest.approx(1.0, rel=0.05)


def test_the_spectrogram_is_a_hann_windowed_transform() -> None:
    """The reference's window was rectangular, by accident."""
    waveform = torch.randn(1, 1024)
    member = BandDiscriminator(256, 2)
    frame = waveform[0, 256 : 256 + 256] * torch.hann_window(256)
    expected = torch.fft.rfft(frame) / torch.hann_window(256).square().sum().sqrt()
    found = member.spectrogram(waveform)[0, :, 6]  # centred on sample 6 * 64
    torch.testing.assert_close(torch.complex(found[0], found[1]), expected)


def test_the_band_discriminator_depends_on_the_level_of_a_clip() -> None:
    waveform = torch.randn(1, 2048)
    config = DiscriminatorConfig((), (256,), 2, band_n_ffts=(256,), band_channels=2)
    discriminators = Discriminators(config)
    (theirs, ours), _ = discriminators(waveform)
    (theirs_loud, ours_loud), _ = discriminators(3.0 * waveform)
    torch.testing.assert_close(theirs, theirs_loud, rtol=1e-3, atol=1e-4)
    assert (ours - ours_loud).abs().max() > 1e-3


def test_every_weight_of_a_discriminator_gets_a_gradient() -> None:
    config = DiscriminatorConfig((3,), (256,), 2, band_n_ffts=(256,), band_channels=2)
    discriminators = Discriminators(config)
    scores, _ = discriminators(torch.randn(2, 2048))
    torch.stack([score.mean() for score in scores]).sum().backward()
    for name, parameter in discriminators.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_transform_stays_in_fp32_under_autocast() -> None:
    member = BandDiscriminator(256, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert member.spectrogram(torch.randn(1, 1024).bfloat16()).dtype == torch.float32
