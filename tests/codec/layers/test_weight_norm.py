import copy

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.layers.weight_norm import (
    MAGNITUDE,
    count_parameters,
    remove_weight_norm,
    weight_normed,
)
from codec.model.config import CodecConfigError
from codec.model.encoder import CausalConv
from codec.model.vocoder import Vocoder


@pytest.fixture(scope="module")
def config():
    """The paper's encoder, small: one convolution's width each side of every weight norm."""
    values = CodecConfig.preset("tiny").to_dict()
    values["encoder"] |= {"kind": "seanet", "channels": 4, "num_lstm_layers": 1}
    return CodecConfig.from_dict(values)


@pytest.fixture
def folder(config, tmp_path, make_waveform):
    codec = HHCodec(config)
    with torch.no_grad():
        for module in weight_normed(codec):  # as after training: magnitudes of their own
            module.get_parameter(MAGNITUDE).mul_(1.3)
        latents = codec.encoder(torch.from_numpy(make_waveform(4.0)[: 93 * 1024])[None])
    codec.quantizer.initialize(latents[0].T, seed=0)
    codec.save_pretrained(tmp_path)
    return tmp_path


def test_a_folded_convolution_gives_the_same_values_with_fewer_parameters():
    conv = CausalConv(3, 5, 4, 2)
    x = torch.randn(2, 3, 12)
    before = conv(x)
    expected = count_parameters(conv, weight_norm=False)
    assert remove_weight_norm(conv) == 1
    assert torch.equal(conv(x), before)
    assert sorted(conv.state_dict()) == ["conv.bias", "conv.weight"]
    assert sum(p.numel() for p in conv.parameters()) == expected == 5 * 3 * 4 + 5
    assert remove_weight_norm(conv) == 0


def test_a_module_keeps_its_weight_norm_while_a_copy_of_it_is_folded():
    conv, x = CausalConv(2, 4, 3), torch.randn(1, 2, 8)
    expected = conv(x)
    assert remove_weight_norm(copy.deepcopy(conv)) == 1
    assert torch.equal(conv(x), expected)
    assert remove_weight_norm(conv) == 1
    assert torch.equal(conv(x), expected)


def test_codes_and_fingerprint_of_a_folder_do_not_depend_on_folding(folder, make_waveform):
    """A token store must be readable by whoever loads the codec, to train or to infer."""
    folded, trainable = HHCodec.from_pretrained(folder), HHCodec.from_pretrained(folder, fold=False)
    assert not weight_normed(folded)
    assert len(weight_normed(trainable)) == 18
    waveform = torch.from_numpy(make_waveform(1.0))[None]
    codes, _ = folded.encode(waveform)
    assert codes.unique().numel() > 3
    assert torch.equal(codes, trainable.encode(waveform)[0])
    assert torch.equal(folded.encoder(waveform[:, :8192]), trainable.encoder(waveform[:, :8192]))
    assert torch.equal(folded.decode(codes)[0], trainable.decode(codes)[0])
    assert folded.fingerprint == trainable.fingerprint


def test_a_folded_codec_does_not_train(folder):
    codec = HHCodec.from_pretrained(folder)
    with pytest.raises(ValueError, match="fold=False"):
        codec.train()


def test_a_folded_codec_is_saved_with_the_weight_norm_that_it_had(folder, tmp_path):
    codec = HHCodec.from_pretrained(folder)
    codec.save_pretrained(tmp_path / "copy")
    for name in ("config.yaml", "model.safetensors"):
        assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()
    assert HHCodec.from_pretrained(tmp_path / "copy").fingerprint == codec.fingerprint
    HHCodec.from_pretrained(tmp_path / "copy", fold=False).train()


def test_folded_weights_that_were_changed_are_saved_as_they_are(folder, tmp_path, make_waveform):
    codec = HHCodec.from_pretrained(folder)
    before = codec.fingerprint
    with torch.no_grad():
        codec.get_parameter("encoder.project.conv.weight").mul_(1.5)
    codec.weights_changed()
    assert codec.fingerprint != before
    codec.save_pretrained(tmp_path / "copy")
    loaded = HHCodec.from_pretrained(tmp_path / "copy")
    weights = [each.get_parameter("encoder.project.conv.weight") for each in (loaded, codec)]
    torch.testing.assert_close(*weights)
    assert loaded.fingerprint == codec.fingerprint


def test_a_codec_without_weight_norm_trains_however_it_was_loaded(tmp_path):
    HHCodec(CodecConfig.preset("tiny")).save_pretrained(tmp_path)
    assert HHCodec.from_pretrained(tmp_path).train().training


def test_the_folded_encoder_of_the_paper_has_its_size():
    from codec.model.encoder import build_encoder

    encoder = build_encoder(CodecConfig.preset("hh_24khz"))
    assert sum(p.numel() for p in encoder.parameters()) == 17_142_272
    assert count_parameters(encoder, weight_norm=False) == 17_139_568


def test_another_vocoder_of_the_same_mel_is_taken_and_one_of_another_mel_refused(config):
    codec = HHCodec(config).eval()
    before, codes = codec.fingerprint, torch.randint(0, 64, (1, 5))
    other = Vocoder(config.mel, config.vocoder).eval()
    codec.replace_vocoder(other)
    assert codec.fingerprint != before
    assert torch.equal(codec.decode(codes)[0], other(codec.decode_mel(codes)))
    bigvgan_mel = CodecConfig.preset("hh_24khz_bigvgan").mel
    with pytest.raises(ValueError, match="slaney"):
        codec.replace_vocoder(Vocoder(bigvgan_mel, config.vocoder))


def test_the_fingerprint_of_the_shipped_codec_stays():
    """Stored tokens outlive versions: a field or buffer added later must not orphan them."""
    codec = HHCodec.from_pretrained("hh-mini-24k")
    assert codec.code_fingerprint == "943b47e472360fab"
    assert "648bddcc4cecf0c9" in codec.code_fingerprints  # the whole codec of the first release


def test_a_codec_config_counts_a_new_field_only_where_it_differs():
    tiny = CodecConfig.preset("tiny")
    values = tiny.to_dict()
    assert "kind" not in tiny.fingerprint_values["vocoder"]
    later = {"attention_layers", "attention_heads", "attention_window"}
    known = {name: value for name, value in values["decoder"].items() if name not in later}
    assert tiny.fingerprint_values["decoder"] == known
    values["mel"]["power_offset"] = 1e-9
    changed = CodecConfig.from_dict(values)
    assert changed.fingerprint_values["mel"] != tiny.fingerprint_values["mel"]
    with pytest.raises(CodecConfigError, match=r"mel\.filters"):
        CodecConfig.from_dict({"mel": {"filters": "bark"}})
