"""Files of the published layouts, made at random weights by the packages' own classes."""

import json
from importlib.util import find_spec

import pytest
import torch
import yaml

from codec import CodecConfig, HHCodec
from codec.import_shims import import_bigvgan, import_vocos
from codec.model.config import BIGVGAN_MEL, CodecConfigError, MelConfig, VocoderConfig
from codec.model.vocoder import Vocoder

needs_bigvgan = pytest.mark.skipif(find_spec("bigvgan") is None, reason="bigvgan is not installed")

VOCOS_SETTINGS = {
    "feature_extractor": {
        "class_path": "vocos.feature_extractors.MelSpectrogramFeatures",
        "init_args": {
            "sample_rate": 24000,
            "n_fft": 1024,
            "hop_length": 256,
            "n_mels": 100,
            "padding": "center",
        },
    },
    "backbone": {
        "class_path": "vocos.models.VocosBackbone",
        "init_args": {"input_channels": 100, "dim": 8, "intermediate_dim": 16, "num_layers": 2},
    },
    "head": {
        "class_path": "vocos.heads.ISTFTHead",
        "init_args": {"dim": 8, "n_fft": 1024, "hop_length": 256, "padding": "center"},
    },
}
# nvidia/bigvgan_v2_24khz_100band_256x but for the number of channels.
BIGVGAN_SETTINGS = {
    "resblock": "1",
    "num_gpus": 0,
    "upsample_rates": [4, 4, 2, 2, 2, 2],
    "upsample_kernel_sizes": [8, 8, 4, 4, 4, 4],
    "upsample_initial_channel": 64,
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "use_tanh_at_final": False,
    "use_bias_at_final": False,
    "activation": "snakebeta",
    "snake_logscale": True,
    "num_mels": 100,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 24000,
    "fmin": 0,
    "fmax": None,
}


def write_vocos(folder, settings=VOCOS_SETTINGS):
    """What `Vocos.from_pretrained` downloads; returns the package's own modules."""
    backbone = import_vocos("models").VocosBackbone(**settings["backbone"]["init_args"])
    head = import_vocos("heads").ISTFTHead(**settings["head"]["init_args"])
    tensors = {
        "feature_extractor.mel_spec.spectrogram.window": torch.hann_window(1024),
        "feature_extractor.mel_spec.mel_scale.fb": torch.zeros(513, 100),
        **{f"backbone.{name}": value for name, value in backbone.state_dict().items()},
        **{f"head.{name}": value for name, value in head.state_dict().items()},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    torch.save(tensors, folder / "pytorch_model.bin")
    return backbone.eval(), head.eval()


def write_bigvgan(folder, *, folded=False, **changes):
    """What `BigVGAN.from_pretrained` downloads; returns the package's own generator."""
    source = import_bigvgan()
    settings = BIGVGAN_SETTINGS | changes
    generator = source.BigVGAN(source.AttrDict(BIGVGAN_SETTINGS)).eval()
    tensors = {}
    for name, value in generator.state_dict().items():
        name = name.replace("parametrizations.weight.original0", "weight_g")
        tensors[name.replace("parametrizations.weight.original1", "weight_v")] = value
    if folded:
        for name in [name for name in tensors if name.endswith("_g")]:
            magnitude, direction = tensors.pop(name), tensors.pop(name[:-1] + "v")
            norm = direction.flatten(1).norm(dim=1).view_as(magnitude)
            tensors[name[:-2]] = direction * magnitude / norm
    torch.save({"generator": tensors}, folder / "bigvgan_generator.pt")
    (folder / "config.json").write_text(json.dumps(settings))
    return generator


def test_published_vocos_weights_give_what_the_package_gives(tmp_path):
    backbone, head = write_vocos(tmp_path)
    vocoder = Vocoder.from_pretrained(tmp_path)
    assert vocoder.mel_config == CodecConfig.preset("hh_24khz").mel
    assert vocoder.config == VocoderConfig(8, 16, 2)
    mel = torch.randn(2, 100, 9)
    expected = head(backbone(torch.cat([mel, mel[..., -1:]], -1)))
    assert torch.equal(vocoder(mel), expected)
    assert expected.shape == (2, 9 * 256)


@needs_bigvgan
@pytest.mark.parametrize("folded", [False, True])
def test_published_bigvgan_weights_give_what_the_package_gives(tmp_path, folded):
    generator = write_bigvgan(tmp_path, folded=folded)
    mel = torch.randn(1, 100, 4)
    with torch.no_grad():
        expected = generator(mel)[:, 0]
        for fold in (True, False):
            vocoder = Vocoder.from_pretrained(tmp_path / "bigvgan_generator.pt", fold=fold)
            assert vocoder.is_folded == fold
            torch.testing.assert_close(vocoder(mel), expected, rtol=1e-4, atol=1e-6)
    assert vocoder.mel_config == BIGVGAN_MEL
    assert vocoder.config == VocoderConfig(kind="bigvgan", channels=64)


@needs_bigvgan
def test_the_names_are_those_that_the_package_publishes(tmp_path):
    """The package saves with the older weight norm, whose names end in _g and _v."""
    write_bigvgan(tmp_path)
    names = set(torch.load(tmp_path / "bigvgan_generator.pt")["generator"])
    assert {
        "conv_pre.weight_g",
        "ups.5.0.weight_v",
        "resblocks.17.convs2.2.bias",
        "resblocks.0.activations.5.act.alpha",
        "resblocks.0.activations.0.upsample.filter",
        "activation_post.downsample.lowpass.filter",
        "conv_post.weight_v",
    } <= names
    assert "conv_post.bias" not in names


@pytest.mark.parametrize("write", [write_vocos, pytest.param(write_bigvgan, marks=needs_bigvgan)])
def test_a_loaded_vocoder_is_saved_and_loaded_as_ours(tmp_path, write):
    published, ours = tmp_path / "published", tmp_path / "ours"
    published.mkdir()
    write(published)
    vocoder = Vocoder.from_pretrained(published, fold=False)
    vocoder.save_pretrained(ours)
    assert sorted(p.name for p in ours.iterdir()) == ["config.yaml", "model.safetensors"]
    loaded, mel = Vocoder.from_pretrained(ours, fold=False), torch.randn(1, 100, 4)
    assert torch.equal(loaded(mel), vocoder(mel))
    assert (loaded.config, loaded.mel_config) == (vocoder.config, vocoder.mel_config)


@needs_bigvgan
def test_a_folded_vocoder_is_not_saved(tmp_path):
    write_bigvgan(tmp_path)
    with pytest.raises(ValueError, match="fold=False"):
        Vocoder.from_pretrained(tmp_path).save_pretrained(tmp_path / "ours")


def test_the_vocoder_of_a_codec_is_taken_out_of_its_folder(tmp_path):
    codec = HHCodec(CodecConfig.preset("tiny")).eval()
    codec.save_pretrained(tmp_path)
    mel = torch.randn(1, 100, 4)
    assert torch.equal(Vocoder.from_pretrained(tmp_path)(mel), codec.vocoder(mel))


@needs_bigvgan
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"use_tanh_at_final": True}, "use_tanh_at_final False, got True"),
        ({"activation": "snake"}, "activation 'snakebeta', got 'snake'"),
        ({"fmax": 8000}, "fmax 12000.0, got 8000"),
        ({"upsample_kernel_sizes": [9, 8, 4, 4, 4, 4]}, "upsample_kernel_sizes"),
        ({"upsample_initial_channel": 128}, "do not fit"),
    ],
)
def test_a_bigvgan_of_another_make_is_refused_by_its_field(tmp_path, changes, named):
    write_bigvgan(tmp_path, **changes)
    with pytest.raises(CodecConfigError, match=named):
        Vocoder.from_pretrained(tmp_path)


def test_a_vocos_of_another_make_is_refused_by_its_part(tmp_path):
    head = {"class_path": "vocos.heads.IMDCTCosHead", "init_args": {}}
    write_vocos(tmp_path)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(VOCOS_SETTINGS | {"head": head}))
    with pytest.raises(CodecConfigError, match="head of class ISTFTHead, got vocos"):
        Vocoder.from_pretrained(tmp_path)


@needs_bigvgan
def test_damaged_and_hostile_files_are_named(tmp_path):
    """A pickle that would run code is refused, not run."""
    write_bigvgan(tmp_path)
    weights = tmp_path / "bigvgan_generator.pt"
    whole = weights.read_bytes()
    torch.save({"generator": print}, weights)
    with pytest.raises(CodecConfigError, match="of tensors under 'generator'"):
        Vocoder.from_pretrained(tmp_path)
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CodecConfigError, match=r"bigvgan_generator\.pt"):
        Vocoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CodecConfigError, match=r"config\.json: cannot be read"):
        Vocoder.from_pretrained(tmp_path)


def test_an_empty_folder_is_told_which_files_are_expected(tmp_path):
    with pytest.raises(CodecConfigError, match=r"config\.json and bigvgan_generator\.pt"):
        Vocoder.from_pretrained(tmp_path)


def test_an_unreachable_hub_says_how_to_give_a_local_folder(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(CodecConfigError, match=r"no network, give the path of a folder with .*bin"):
        Vocoder.from_pretrained("charactr/vocos-mel-24khz")


def test_hub_files_are_asked_for_by_name(monkeypatch, tmp_path):
    asked = {}
    write_vocos(tmp_path)

    def download(repository, allow_patterns):
        asked.update(repository=repository, files=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert isinstance(Vocoder.from_pretrained("charactr/vocos-mel-24khz").mel_config, MelConfig)
    assert asked["repository"] == "charactr/vocos-mel-24khz"
    assert {"pytorch_model.bin", "bigvgan_generator.pt", "config.json"} <= set(asked["files"])
