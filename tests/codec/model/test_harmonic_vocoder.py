from dataclasses import replace

import pytest
import torch

from codec import HHCodec
from codec.model.config import CodecConfig, CodecConfigError, MelConfig, VocoderConfig
from codec.model.harmonic_vocoder import LOWEST_HZ, pulse_train
from codec.model.vocoder import Vocoder

RATE, HOP = 24_000, 256
TINY = CodecConfig.preset("tiny")
SIZE = VocoderConfig(
    kind="harmonic", dim=32, intermediate_dim=64, num_layers=1, pitch_dim=16, pitch_layers=1
)


@pytest.fixture
def vocoder():
    torch.manual_seed(0)
    return Vocoder(TINY.mel, SIZE).eval()


def speaks_at(vocoder, hertz):
    """Have the pitch network find this pitch everywhere."""
    out = vocoder.generator.pitch.out
    with torch.no_grad():
        out.weight.zero_()
        out.bias[0] = torch.tensor(hertz).log2() - 7.5
        out.bias[1] = 1.0


def test_the_voice_has_the_pitch_that_the_network_found_before_any_training(vocoder):
    speaks_at(vocoder, 160.0)
    with torch.no_grad():
        waveform = vocoder(torch.randn(1, 100, 100) - 2.0)[0]
    spectrum = torch.fft.rfft(waveform[800:24_800] * torch.hann_window(24_000)).abs()
    for harmonic in (3, 10, 30):
        near = spectrum[harmonic * 160 - 40 : harmonic * 160 + 40]
        assert abs(int(near.argmax()) - 40) <= 2


def test_no_harmonics_are_heard_where_nothing_is_voiced(vocoder):
    speaks_at(vocoder, 160.0)
    with torch.no_grad():
        vocoder.generator.pitch.out.bias[1] = -1.0
        waveform = vocoder(torch.randn(1, 100, 100) - 2.0)[0]
    spectrum = torch.fft.rfft(waveform[:24_000]).abs()
    harmonics = spectrum[torch.arange(160, 12_000, 160)].mean()
    assert harmonics < 1.5 * spectrum.mean()


def test_the_waveform_gives_the_pitch_network_no_gradient(vocoder):
    mel = torch.randn(1, 100, 8, requires_grad=True)
    vocoder.train()(mel).square().sum().backward()
    for name, parameter in vocoder.named_parameters():
        assert (parameter.grad is None) == name.startswith("generator.pitch."), name
    assert mel.grad is not None
    octaves, voicing = vocoder.pitch(mel)
    (octaves.sum() + voicing.sum()).backward()
    assert all(p.grad is not None for p in vocoder.generator.pitch.parameters())


def test_a_rows_waveform_does_not_depend_on_its_batch_mates(vocoder):
    speaks_at(vocoder, 160.0)
    mels = torch.randn(3, 100, 16)
    with torch.no_grad():
        together = vocoder(mels)
        for row in range(3):
            alone = vocoder(mels[row : row + 1])
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-3)


def test_the_same_mel_sounds_the_same_again_whatever_the_random_state(vocoder):
    mel = torch.randn(1, 100, 16)
    with torch.no_grad():
        first = vocoder(mel)
        torch.manual_seed(7)
        assert torch.equal(first, vocoder(mel))


def test_a_codec_with_it_is_saved_and_loaded_whole(tmp_path, make_waveform):
    codec = HHCodec(replace(TINY, vocoder=SIZE)).eval()
    codec.quantizer.enable()
    codec.save_pretrained(tmp_path)
    again = HHCodec.from_pretrained(tmp_path)
    assert again.fingerprint == codec.fingerprint
    codes, _ = codec.encode(torch.from_numpy(make_waveform(0.5))[None])
    assert torch.equal(codec.decode(codes)[0], again.decode(codes)[0])


def test_pitch_is_asked_of_no_other_vocoder():
    with pytest.raises(ValueError, match="harmonic vocoder, got a vocos"):
        Vocoder(TINY.mel, TINY.vocoder).pitch(torch.randn(1, 100, 4))


def test_mels_centred_on_samples_are_refused():
    with pytest.raises(CodecConfigError, match="same for harmonic"):
        Vocoder(MelConfig(padding="center"), SIZE)


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
