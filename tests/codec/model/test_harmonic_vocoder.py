from dataclasses import replace

import pytest
import torch

from codec import HHCodec
from codec.model.config import CodecConfig, CodecConfigError, MelConfig, VocoderConfig
from codec.model.vocoder import Vocoder

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
    codec.quantizer.start()
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
