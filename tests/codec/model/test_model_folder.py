"""Folders of codecs: saved, loaded, and refused where config and weights do not fit."""

import pytest
import torch
from omegaconf import OmegaConf

from codec import CodecConfig, HHCodec
from codec.model.config import CodecConfigError

LENGTHS = (1, 1023, 1024, 1025, 240_000)


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return HHCodec(CodecConfig.preset("tiny")).eval()


@pytest.mark.parametrize("shared", [False, True])
def test_a_saved_codec_loads_to_the_same_codes_and_fingerprint(tmp_path, make_waveform, shared):
    clip = torch.from_numpy(make_waveform(1))[None]
    values = CodecConfig.preset("tiny").to_dict()
    values["quantizer"]["shared_transform"] = shared
    codec = HHCodec(CodecConfig.from_dict(values)).eval()
    codec.quantizer.initialize(torch.randn(400, 8), seed=0)
    codec.save_pretrained(tmp_path)
    loaded = HHCodec.from_pretrained(tmp_path)
    assert loaded.fingerprint == codec.fingerprint
    assert torch.equal(loaded.encode(clip)[0], codec.encode(clip)[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.yaml", "model.safetensors"]


def test_weights_of_another_size_are_refused(tmp_path, codec):
    codec.save_pretrained(tmp_path)
    CodecConfig.preset("mini").save(tmp_path / "config.yaml")
    with pytest.raises(CodecConfigError, match="another size"):
        HHCodec.from_pretrained(tmp_path)


def test_damaged_weights_are_named(tmp_path, codec):
    codec.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(CodecConfigError, match=r"model\.safetensors: damaged"):
        HHCodec.from_pretrained(tmp_path)


def test_a_folder_without_a_codec_is_named(tmp_path):
    with pytest.raises(CodecConfigError, match=str(tmp_path)):
        HHCodec.from_pretrained(tmp_path)


CRAFTED = [
    ("decoder.num_layers", 10**9),
    ("decoder.num_layers", -1),
    ("decoder.dim", 10**6),
    ("decoder.dim", 0),
    ("encoder.num_blocks", 10**6),
    ("encoder.channels", 10**18),
    ("encoder.ratios", [-4, -4, 8, 8]),
    ("encoder.ratios", []),
    ("encoder.speech_layers", 10**6),
    ("quantizer.dim", 10**5),
    ("quantizer.hidden_dim", 10**9),
    ("vocoder.num_layers", 10**6),
    ("mel.n_fft", 10**9),
    ("mel.n_fft", 0),
    ("mel.n_mels", 10**9),
    ("mel.hop_length", 0),
    ("mel.sample_rate", 10**30),
    ("mel.floor", float("nan")),
    ("hop_length", 0),
    ("loudness_dbfs", float("inf")),
]


@pytest.mark.parametrize(("field", "value"), CRAFTED)
def test_a_config_that_is_not_of_its_weights_is_refused_before_much_is_built(
    field, value, tmp_path
):
    HHCodec(CodecConfig.preset("tiny")).save_pretrained(tmp_path)
    config = OmegaConf.load(tmp_path / "config.yaml")
    OmegaConf.update(config, field, value)
    OmegaConf.save(config, tmp_path / "config.yaml")
    with pytest.raises(CodecConfigError):
        HHCodec.from_pretrained(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    codec = HHCodec(CodecConfig.preset("tiny"))
    with torch.no_grad():
        codec.decoder.final_norm.weight[3] = float("nan")
    codec.save_pretrained(tmp_path)
    with pytest.raises(CodecConfigError, match=r"finite weights, got .* decoder\.final_norm"):
        HHCodec.from_pretrained(tmp_path)
