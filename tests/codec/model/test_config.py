import json

import pytest

from codec.model.config import PRESETS, CodecConfig, CodecConfigError, MelConfig


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_survive_yaml(name, tmp_path):
    config = CodecConfig.preset(name)
    config.save(tmp_path / "config.yaml")
    assert CodecConfig.load(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"encoder": {"ratios": [4, 4, 8, 4]}}, "encoder.ratios"),
        ({"encoder": {"kind": "conv"}}, "encoder.kind"),
        ({"encoder": {"widht": 3}}, "widht"),
        ({"quantizer": {"dim": "wide"}}, "wide"),
        ({"quantizer": {"hidden_dim": 3}}, "quantizer.hidden_dim"),
        ({"mel": {"padding": "reflect"}}, "mel.padding"),
        ({"nmae": "x"}, "nmae"),
        ({"loudness_dbfs": 1e6}, "loudness_dbfs"),
        ({"loudness_dbfs": float("nan")}, "loudness_dbfs"),
        ({"vocoder": {"kind": "wavenet"}}, "vocoder.kind"),
        ({"vocoder": {"kind": "bigvgan", "ratios": [4, 4]}}, "vocoder.ratios"),
        ({"vocoder": {"kind": "bigvgan", "channels": 100}}, "vocoder.channels"),
        ({"vocoder": {"kind": "bigvgan"}, "mel": {"padding": "center"}}, "mel.padding"),
    ],
)
def test_a_config_that_does_not_fit_names_the_field(values, named):
    with pytest.raises(CodecConfigError, match=named):
        CodecConfig.from_dict(values)


MEL = {"kind": "mel"}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"encoder": {"channels": 1}}, "encoder.channels: expected an even number >= 2, got 1"),
        ({"encoder": {"num_lstm_layers": 0}}, "encoder.num_lstm_layers: .* >= 1, got 0"),
        ({"encoder": {**MEL, "channels": 0}}, "encoder.channels: expected a whole number >= 1"),
        ({"encoder": {**MEL, "dim": 48}}, "encoder.dim: expected a multiple of 32, got 48"),
        ({"encoder": {**MEL, "num_blocks": -1}}, "encoder.num_blocks: .* >= 0, got -1"),
        ({"encoder": {**MEL, "num_mel_blocks": -1}}, "encoder.num_mel_blocks: .* >= 0, got -1"),
        ({"encoder": {**MEL, "speech_layers": 1, "speech_heads": 7}}, "encoder.speech_heads"),
        ({"encoder": {**MEL, "speech_layers": 1, "speech_heads": 0}}, "encoder.speech_heads"),
        ({"encoder": {**MEL, "speech_layers": 1, "speech_dim": 5}}, "encoder.speech_dim"),
        ({"encoder": {**MEL, "speech_layers": 1}, "mel": {"n_mels": 80}}, "encoder.speech_layers"),
        ({"quantizer": {"dim": 0}}, "quantizer.dim: expected a whole number >= 1, got 0"),
        ({"quantizer": {"dim": -3}}, "quantizer.dim: expected a whole number >= 1, got -3"),
        ({"quantizer": {"commitment": -1.0}}, "quantizer.commitment: expected 0 or more"),
        ({"quantizer": {"ema_dead_share": -1.0}}, "quantizer.ema_dead_share: expected 0 or more"),
        ({"decoder": {"dim": 40}}, "decoder.dim: expected a multiple of 32, got 40"),
        ({"decoder": {"num_layers": -1}}, "decoder.num_layers: .* >= 0, got -1"),
        ({"decoder": {"mlp_ratio": 0}}, "decoder.mlp_ratio: .* >= 1, got 0"),
        ({"decoder": {"dropout": 2.0}}, "decoder.dropout: expected a number in"),
        ({"decoder": {"num_refine_layers": 1, "refine_dim": 0}}, "decoder.refine_dim"),
        ({"vocoder": {"dim": 0}}, "vocoder.dim: expected a whole number >= 1, got 0"),
        ({"vocoder": {"num_layers": -1}}, "vocoder.num_layers: .* >= 0, got -1"),
        ({"vocoder": {"pitch_dim": 0}}, "vocoder.pitch_dim: .* >= 1, got 0"),
    ],
    ids=str,
)
def test_sizes_that_cannot_be_built_are_refused_with_the_config(values, named):
    """They ended in errors of torch, or stood for another size without a word."""
    with pytest.raises(CodecConfigError, match=named):
        CodecConfig.from_dict(values)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(CodecConfigError, match="hh_24khz"):
        CodecConfig.preset("maxi")


def test_a_missing_config_names_the_path(tmp_path):
    with pytest.raises(CodecConfigError, match=r"config\.yaml"):
        CodecConfig.load(tmp_path / "config.yaml")


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "name: ${nowhere}\n"])
def test_a_config_that_is_no_mapping_names_the_path(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CodecConfigError, match=r"config\.yaml|nowhere"):
        CodecConfig.load(tmp_path / "config.yaml")


def test_mel_conventions_have_different_fingerprints():
    assert MelConfig().fingerprint == MelConfig().fingerprint
    assert MelConfig(floor=1e-5).fingerprint != MelConfig().fingerprint


@pytest.mark.parametrize(
    "values", [{"name": "${oc.env:HOME}"}, {"encoder": {"kind": "${oc.env:KIND,mel}"}}]
)
def test_values_that_would_be_taken_from_the_machine_are_refused(values, tmp_path):
    with pytest.raises(CodecConfigError, match=r"a value without \$\{"):
        CodecConfig.from_dict(values)
    (tmp_path / "config.yaml").write_text(json.dumps(values))
    with pytest.raises(CodecConfigError, match=r"a value without \$\{"):
        CodecConfig.load(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object:os.system x\n",
        "a: \0\n",
        "[" * 5000,
        "? [1]\n: 2\n",
        "1: 2\n",
        "a: 1\na: 2\n",
        "7\n",
    ],
)
def test_yaml_of_another_kind_is_refused(text, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CodecConfigError) as caught:
        CodecConfig.load(tmp_path / "config.yaml")
    assert "\n" not in str(caught.value)
