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
