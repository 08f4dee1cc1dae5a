import pytest
import torch

from codec.model.excitation import LOWEST_HZ, pulse_train

RATE, HOP = 24_000, 256


def steady(hertz, frames=94):
    """(1, F) of one pitch, and voicing throughout."""
    return torch.full((1, frames), float(hertz)), torch.ones(1, frames, dtype=torch.bool)


@pytest.mark.parametrize("hertz", [75.0, 200.0, 500.0])
def test_all_harmonics_below_half_the_rate_are_equally_strong(hertz):
    pulses = pulse_train(*steady(hertz, 375), HOP, RATE)[0, RATE : 2 * RATE]
    spectrum = torch.fft.rfft(pulses).abs() * 2 / RATE  # one bin a Hz
    harmonics = spectrum[torch.arange(hertz, RATE / 2, hertz).long()]
    assert harmonics.max() / harmonics.min() < 1.02
    between = spectrum[torch.arange(1.5 * hertz, RATE / 2 - hertz, hertz).long()]
    assert between.max() < 0.01 * harmonics.min()


@pytest.mark.parametrize("hertz", [60.0, 140.0, 440.0])
def test_a_source_has_variance_one_at_any_pitch(hertz):
    pulses = pulse_train(*steady(hertz), HOP, RATE)
    assert pulses.square().mean().item() == pytest.approx(1.0, rel=0.05)


def test_unvoiced_frames_are_silent_and_the_ramp_is_one_frame_long():
    pitch, voiced = steady(150.0, 40)
    voiced[:, 20:] = False
    pulses = pulse_train(pitch, voiced, HOP, RATE)[0]
    assert (pulses[20 * HOP + HOP // 2 :] == 0).all()
    assert pulses[: 19 * HOP].square().mean().item() == pytest.approx(1.0, rel=0.05)


def test_what_lies_before_a_pause_does_not_change_what_follows():
    """Otherwise a recording decoded in pieces would differ from one decoded whole."""
    pitch = 100.0 + 50.0 * torch.rand(1, 60)
    voiced = torch.ones(1, 60, dtype=torch.bool)
    voiced[:, 25:28] = False
    whole = pulse_train(pitch, voiced, HOP, RATE)
    cut = 26
    later = pulse_train(pitch[:, cut:], voiced[:, cut:], HOP, RATE)
    torch.testing.assert_close(whole[:, (cut + 1) * HOP :], later[:, HOP:], atol=1e-3, rtol=1e-3)


def test_a_long_recording_keeps_its_phase():
    """Summed in single precision, the highest harmonics would be noise after a minute."""
    pulses = pulse_train(*steady(100.0, 94 * 120), HOP, RATE)[0, -2 * RATE : -RATE]
    spectrum = torch.fft.rfft(pulses).abs()
    harmonics = spectrum[100:11_900:100]
    assert harmonics.max() / harmonics.min() < 1.02


def test_a_pitch_that_no_voice_has_is_clamped():
    low = pulse_train(*steady(1.0), HOP, RATE)
    torch.testing.assert_close(low, pulse_train(*steady(LOWEST_HZ), HOP, RATE))
