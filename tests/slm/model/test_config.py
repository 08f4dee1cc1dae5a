from pathlib import Path

import pytest

from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig

GIVEN = {"vocabulary": Vocabulary(9, 8192).to_dict(), "frame_rate": 23.4375}


@pytest.mark.parametrize("fingerprint", ["1e5", "0123", "abc", "0x1F", "null", "1_000"])
def test_a_config_survives_its_file(tmp_path: Path, fingerprint: str) -> None:
    config = SpeechLMConfig.preset("mini", **GIVEN, codec_fingerprint=fingerprint, dropout=0.1)
    config.save(tmp_path / "config.yaml")
    assert SpeechLMConfig.load(tmp_path / "config.yaml") == config


def test_a_misspelt_or_mistyped_key_in_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    SpeechLMConfig.preset("mini", **GIVEN, codec_fingerprint="a").save(path)
    text = path.read_text()
    for broken, message in (
        (text.replace("num_layers", "nun_layers"), "nun_layers"),
        (text.replace("num_layers: 8", "num_layers: many"), "num_layers"),
    ):
        path.write_text(broken)
        with pytest.raises(ValueError, match=message):
            SpeechLMConfig.load(path)


def test_sizes_out_of_range_are_refused() -> None:
    for wrong, message in (
        ({"num_kv_heads": 3}, "num_kv_heads: expected a divisor of 4"),
        ({"dropout": 1.0}, r"dropout: expected a number in \[0, 1\), got 1"),
        ({"dim_head": 7}, "dim_head: expected an even number"),
        ({"codebook_dim": -1}, "codebook_dim: expected a size >= 0"),
        ({"num_layers": 0}, "num_layers: expected a number >= 1, got 0"),
        ({"wdith": 3}, "wdith"),
    ):
        with pytest.raises(ValueError, match=message):
            SpeechLMConfig.preset("mini", **GIVEN, codec_fingerprint="a", **wrong)
    with pytest.raises(ValueError, match="preset of"):
        SpeechLMConfig.preset("huge", **GIVEN, codec_fingerprint="a")


def test_a_sampling_out_of_range_is_refused() -> None:
    vocabulary = Vocabulary(10, 20).to_dict()
    with pytest.raises(ValueError, match="top_p"):
        SpeechLMConfig(vocabulary, "codec", 23.4375, top_p=0.0)
    with pytest.raises(ValueError, match="temperature: expected 0 or a number in"):
        SpeechLMConfig(vocabulary, "codec", 23.4375, temperature=-1.0)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object:os.system x\n",
        "- 1\n",
        "a: \0\n",
        "[" * 5000,
        "codec_fingerprint: ${oc.env:HOME}\n",
        "vocabulary: 3\n",
        "",
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="cannot read") as caught:
        SpeechLMConfig.load(path)
    assert "\n" not in str(caught.value)


def test_a_value_that_would_be_taken_from_the_machine_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    SpeechLMConfig.preset("mini", **GIVEN, codec_fingerprint="abc").save(path)
    path.write_text(path.read_text().replace("abc", "${oc.env:HOME}"))
    with pytest.raises(ValueError, match=r"values without \$\{"):
        SpeechLMConfig.load(path)
