import numpy as np
import pytest
import soxr
import torch

from codec.audio.resample import Resampler


@pytest.mark.parametrize(
    ("source", "target"), [(24_000, 16_000), (44_100, 16_000), (8_000, 16_000)]
)
def test_it_agrees_with_soxr_below_the_transition_band(source, target):
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(source))
    spectrum[np.fft.rfftfreq(source, 1 / source) > 0.42 * min(source, target)] = 0
    waveform = (np.fft.irfft(spectrum) * np.hanning(source)).astype(np.float32)
    expected = soxr.resample(waveform, source, target, quality="VHQ")
    found = Resampler(source, target)(torch.from_numpy(waveform)[None])[0].numpy()
    assert len(found) == target
    assert np.std(found - expected) < 2e-4 * np.std(expected)


def test_what_lies_above_the_new_half_rate_is_removed():
    moments = torch.arange(24_000, dtype=torch.float64) / 24_000
    tone = torch.sin(2 * torch.pi * 9_000 * moments).float()[None]
    assert Resampler(24_000, 16_000)(tone)[0, 200:-200].abs().max() < 1e-3


@pytest.mark.parametrize("length", [1, 2, 3, 1023])
def test_the_length_is_stated_for_any_length(length):
    for resample in (Resampler(24_000, 16_000), Resampler(16_000, 24_000)):
        found = resample(torch.ones(2, length)).shape[-1]
        assert found == int(resample.num_samples(torch.tensor(length)))


def test_equal_rates_change_nothing():
    waveform = torch.randn(2, 100)
    assert torch.equal(Resampler(16_000, 16_000)(waveform), waveform)


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(ValueError, match="positive rates, got 0 and 16000"):
        Resampler(0, 16_000)
