from importlib.util import find_spec

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.cli.info import arithmetic, describe, parameter_counts


def shapes(preset, **quantizer):
    """A codec of shapes alone, without the seconds that its random weights take."""
    values = CodecConfig.preset(preset).to_dict()
    values["quantizer"] |= quantizer
    with torch.device("meta"):
        return HHCodec(CodecConfig.from_dict(values))


def test_hh_24khz_has_the_parameters_of_the_paper_with_and_without_weight_norm():
    codec = shapes("hh_24khz")
    counts, folded = parameter_counts(codec), parameter_counts(codec, folded=True)
    assert counts["encoder"] == 17_142_272
    assert folded["encoder"] == 17_139_568
    for parts in (counts, folded):
        assert parts["codebook_transform"] == 1_050_112
        assert parts["backbone"] == 61_901_568
        assert parts["mel_head"] == 307_300
        assert parts["training_only"] == 1_050_112
        assert parts["total"] == parts["inference"] + parts["training_only"]
    assert counts["total"] == sum(p.numel() for p in codec.parameters())


def test_a_transform_that_the_stages_share_is_counted_once():
    assert parameter_counts(shapes("hh_24khz", shared_transform=True))["training_only"] == 0


@pytest.mark.parametrize("changes", [{"kind": "ema"}, {"transform": "none"}])
def test_a_quantizer_without_a_transform_counts_none(changes):
    assert parameter_counts(shapes("tiny", **changes))["codebook_transform"] == 0


@pytest.mark.skipif(find_spec("bigvgan") is None, reason="bigvgan is not installed")
def test_the_paper_with_its_own_vocoder_has_the_inference_parameters_of_the_reference():
    codec = shapes("hh_24khz_bigvgan")
    report = describe(codec)
    assert report["parameters"]["inference"] == 192_847_541
    assert report["parameters_folded"]["inference"] == 192_813_060
    assert report["vocoder"] == "bigvgan"
    assert report["mel"]["filters"] == "slaney"


def changed(**parts):
    """A tiny codec with some fields of its parts changed."""
    values = CodecConfig.preset("tiny").to_dict()
    for part, fields in parts.items():
        values[part] |= fields
    return HHCodec(CodecConfig.from_dict(values))


def test_arithmetic_is_counted_by_part():
    plain = arithmetic(changed())
    assert plain["encode"] == pytest.approx(plain["encoder"] + plain["quantizer"])
    # 64 entries of 8 values, 23.4375 times a second: below a thousandth of a GMAC
    assert plain["quantizer"] < 1e-4
    assert plain["decoder"] > 0 < plain["vocoder"]


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        ("encoder", {"attention_layers": 2, "attention_heads": 2}),
        ("encoder", {"attention_layers": 2, "attention_heads": 2, "attention_window": 8}),
        ("decoder", {"attention_layers": 2, "attention_heads": 2}),
        ("decoder", {"num_refine_layers": 4, "refine_dim": 64}),
    ],
)
def test_more_of_a_part_costs_that_part_alone(part, fields):
    plain, larger = arithmetic(changed()), arithmetic(changed(**{part: fields}))
    assert larger[part] > plain[part] + 1e-4
    others = {"encoder", "quantizer", "decoder", "vocoder"} - {part}
    assert {name: larger[name] for name in others} == {name: plain[name] for name in others}


SPEECH = {"speech_layers": 1, "speech_dim": 16, "speech_heads": 2}


def test_a_whisper_inside_is_told_with_its_licence_size_and_cost():
    codec = changed(encoder=SPEECH)
    told, costs = describe(codec)["speech_encoder"], arithmetic(codec)
    assert "MIT" in told["model"]
    assert (told["layers"], told["dim"], told["states_per_code"]) == (1, 16, 2)
    whisper = codec.get_submodule("encoder.speech.whisper")
    assert told["parameters"] == sum(p.numel() for p in whisper.parameters())
    assert 0 < costs["speech_encoder"] < costs["encoder"]
    assert costs["encode"] == pytest.approx(costs["encoder"] + costs["quantizer"], abs=2e-4)
    plain = changed(quantizer={"kind": "bsq", "num_stages": 1})
    assert describe(plain)["speech_encoder"] is None
    assert "speech_encoder" not in arithmetic(plain)
    assert [describe(plain)[part] for part in ("encoder", "quantizer")] == ["mel", "bsq"]


def test_a_voice_code_is_told_with_its_bits_and_cost():
    codec = changed(voice={"tokens": 8, "dim": 16})
    assert describe(codec)["voice"] == {"tokens": 8, "size": 256, "bits": 64}
    counts, costs, plain = parameter_counts(codec), arithmetic(codec), changed()
    parts = (codec.get_submodule(name) for name in ("decoder.voice", "decoder.film"))
    assert counts["voice"] == sum(p.numel() for part in parts for p in part.parameters())
    assert counts["total"] == sum(p.numel() for p in codec.parameters())
    assert {k: v for k, v in counts.items() if k not in ("voice", "inference", "total")} == {
        k: v for k, v in parameter_counts(plain).items() if k not in ("inference", "total")
    }
    whole = 2 * costs["encoder"] + costs["quantizer"] + costs["voice"]
    assert costs["encode"] == pytest.approx(whole, abs=2e-4)
    assert describe(plain)["voice"] is None
    assert not {"voice"} & {*parameter_counts(plain), *arithmetic(plain)}


def test_a_stream_is_told_with_its_delay_and_what_it_decodes_again():
    codec = changed()
    assert describe(codec)["streaming"]["decode_delay"] == pytest.approx(12 / 23.4375, abs=1e-3)
    costs = arithmetic(codec)
    # 108 codes a chunk of 6, and 112 frames a chunk of 24
    expected = 18 * costs["decoder"] + 112 / 24 * costs["vocoder"]
    assert costs["decode_streamed"] == pytest.approx(expected, abs=1e-3)


def test_two_layers_of_attention_cost_their_products():
    """12 D^2 a code for the maps of a layer, 2 L D for its attention over L = 64 codes."""
    plain = arithmetic(changed())
    larger = arithmetic(changed(decoder={"attention_layers": 2, "attention_heads": 2}))
    expected = 2 * (12 * 64**2 + 2 * 64 * 64) * 23.4375 / 1e9
    assert larger["decoder"] - plain["decoder"] == pytest.approx(expected, abs=2e-4)
