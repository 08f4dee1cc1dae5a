import sys
from importlib.util import find_spec

import pytest
import torch

from codec import HHCodec
from codec.import_shims import import_bigvgan, import_vocos
from codec.layers.weight_norm import MAGNITUDE, count_parameters, weight_normed
from codec.model.config import BIGVGAN_MEL, CodecConfig, MelConfig, VocoderConfig
from codec.model.vocoder import Vocoder
from codec.training.config import DiscriminatorConfig
from codec.training.discriminators import Discriminators

needs_bigvgan = pytest.mark.skipif(find_spec("bigvgan") is None, reason="bigvgan is not installed")

TINY = CodecConfig.preset("tiny")


def test_importing_vocos_leaves_no_stand_ins_behind():
    """A stub left in sys.modules breaks other libraries' availability checks."""
    import_vocos("discriminators")
    for name in ("torchaudio", "torchaudio.transforms", "encodec"):
        module = sys.modules.get(name)
        assert module is None or module.__spec__ is not None


@pytest.mark.parametrize("padding", ["same", "center"])
def test_the_vocoder_gives_one_hop_a_frame(padding):
    values = CodecConfig.preset("tiny").to_dict()
    values["mel"]["padding"] = padding
    config = CodecConfig.from_dict(values)
    vocoder = Vocoder(config.mel, config.vocoder)
    assert vocoder(torch.randn(2, 100, 12)).shape == (2, 12 * 256)


def test_a_mel_of_another_convention_is_refused():
    vocoder = Vocoder(TINY.mel, TINY.vocoder)
    with pytest.raises(ValueError, match="floor"):
        vocoder.check_mel(MelConfig(floor=1e-5))


def bigvgan(**changes):
    """A tiny BigVGAN in its own mel convention, in eval mode."""
    size = {"kind": "bigvgan", "channels": 64, "kernels": (3, 7), **changes}
    return Vocoder(BIGVGAN_MEL, VocoderConfig(**size)).eval()


@needs_bigvgan
def test_importing_bigvgan_leaves_no_stand_ins_and_loads_only_the_generator():
    """Its `__init__` loads librosa, numba and matplotlib: nothing that the generator uses."""
    before = set(sys.modules)
    import_bigvgan.cache_clear()
    import_bigvgan()
    loaded = {name.split(".")[0] for name in set(sys.modules) - before}
    assert loaded.isdisjoint({"bigvgan", "librosa", "matplotlib", "nnAudio"})


@needs_bigvgan
def test_bigvgan_gives_one_hop_a_frame_within_full_scale():
    vocoder = bigvgan()
    with torch.no_grad():
        for module in weight_normed(vocoder):
            module.get_parameter(MAGNITUDE).mul_(2.0)
        waveform = vocoder(torch.randn(2, 100, 3))
    assert waveform.shape == (2, 3 * 256)
    assert waveform.abs().max() == 1.0


@needs_bigvgan
def test_clipped_samples_of_bigvgan_still_receive_a_gradient():
    """The reference clamps in training too, so that a sample past full scale never comes back."""
    vocoder = bigvgan()
    with torch.no_grad():
        for module in weight_normed(vocoder):
            module.get_parameter(MAGNITUDE).mul_(2.0)
    mel = torch.randn(1, 100, 3, requires_grad=True)
    waveform = vocoder(mel)
    beyond = waveform.abs() > 1.0
    assert beyond.any()
    (gradient,) = torch.autograd.grad(waveform[beyond].sum(), mel)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("kind", ["vocos", pytest.param("bigvgan", marks=needs_bigvgan)])
def test_every_mel_value_and_weight_receives_a_gradient(kind):
    vocoder = bigvgan() if kind == "bigvgan" else Vocoder(TINY.mel, TINY.vocoder)
    mel = torch.randn(1, 100, 4, requires_grad=True)
    vocoder.train()(mel).square().sum().backward()
    assert mel.grad is not None
    assert (mel.grad != 0).all()
    missing = [name for name, p in vocoder.named_parameters() if p.grad is None]
    assert missing == []


@needs_bigvgan
def test_the_mel_of_one_vocoder_is_an_error_to_the_other():
    vocos, other = Vocoder(TINY.mel, TINY.vocoder), bigvgan()
    assert vocos.mel_config.fingerprint != other.mel_config.fingerprint
    other.check_mel(other.mel_config)
    with pytest.raises(ValueError, match=r"vocos vocoder .*htk.* got .*slaney"):
        vocos.check_mel(other.mel_config)
    with pytest.raises(ValueError, match=r"bigvgan vocoder .*slaney.* got .*htk"):
        other.check_mel(vocos.mel_config)


@needs_bigvgan
def test_a_codec_with_bigvgan_encodes_and_decodes(make_waveform):
    values = TINY.to_dict()
    values["mel"] = CodecConfig.preset("hh_24khz_bigvgan").to_dict()["mel"]
    values["vocoder"] |= {"kind": "bigvgan", "channels": 64, "kernels": [3]}
    codec = HHCodec(CodecConfig.from_dict(values)).eval()
    codes, lengths = codec.encode(torch.from_numpy(make_waveform(0.2))[None])
    decoded, _ = codec.decode(codes, lengths, torch.tensor([4_700]))
    assert decoded.shape == (1, 4_700)
    assert (
        codec.remove_weight_norm().decode(codes, lengths, torch.tensor([4_700]))[0].equal(decoded)
    )


@needs_bigvgan
def test_bigvgan_has_its_published_size():
    with torch.device("meta"):
        vocoder = Vocoder(BIGVGAN_MEL, VocoderConfig(kind="bigvgan"))
    assert sum(p.numel() for p in vocoder.parameters()) == 112_446_289
    assert count_parameters(vocoder, weight_norm=False) == 112_414_512


def test_discriminators_judge_a_waveform_with_the_vocos_parts():
    critics = Discriminators(DiscriminatorConfig(periods=(2,), n_ffts=(512,), channels=4))
    scores, maps = critics(torch.randn(2, 4096))
    assert [score.shape[0] for score in scores] == [2, 2]
    # five convolutions whose first output is left out, and the last layer; in five bands
    assert [len(member) for member in maps] == [5, 5 * 4 + 1]
