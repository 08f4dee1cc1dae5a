import copy

import pytest
import torch
from safetensors import safe_open

from codec import CodecConfig, HHCodec
from codec.model.vocoder import Vocoder

PARTS = ("encoder", "quantizer", "decoder", "vocoder")


def make_codec(seed=0, **changed):
    """A tiny codec; further seeds give another one."""
    torch.manual_seed(seed)
    values = CodecConfig.preset("tiny").to_dict()
    for part, fields in changed.items():
        values[part] = {**values[part], **fields} if isinstance(fields, dict) else fields
    codec = HHCodec(CodecConfig.from_dict(values))
    codec.quantizer.initialize(torch.randn(400, 8), seed=seed)
    return codec.eval()


def with_other_vocoder(codec, seed=1):
    """A copy that sounds otherwise."""
    other = make_codec(seed)
    other.load_state_dict(codec.state_dict())
    other.replace_vocoder(Vocoder(other.config.mel, other.config.vocoder))
    return other


@pytest.mark.parametrize("part", PARTS)
def test_codes_are_told_apart_by_what_makes_them(part):
    codec = make_codec()
    whole, codes = codec.fingerprint, codec.code_fingerprint
    with torch.no_grad():
        next(getattr(codec, part).parameters()).add_(1e-3)
    codec.weights_changed()
    assert codec.fingerprint != whole
    assert (codec.code_fingerprint != codes) == (part in ("encoder", "quantizer"))


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ({"name": "another"}, False),
        ({"decoder": {"dropout": 0.5}}, False),
        ({"loudness_dbfs": -20.0}, True),
        ({"mel": {"floor": 1e-3}}, True),
        ({"quantizer": {"normalize_latents": False}}, True),
    ],
)
def test_settings_count_where_codes_depend_on_them(changed, matters):
    codec, other = make_codec(), make_codec(**changed)
    assert codec.fingerprint != other.fingerprint
    assert (codec.code_fingerprint != other.code_fingerprint) == matters


def test_a_vocoder_leaves_codes_and_their_fingerprint(tmp_path, make_waveform):
    codec = make_codec()
    other = with_other_vocoder(codec)
    clip = torch.from_numpy(make_waveform(1.0))[None]
    assert torch.equal(codec.encode(clip)[0], other.encode(clip)[0])
    assert codec.code_fingerprint == other.code_fingerprint
    assert codec.fingerprint != other.fingerprint
    other.save_pretrained(tmp_path)
    for fold in (True, False):
        loaded = HHCodec.from_pretrained(tmp_path, fold=fold)
        assert loaded.code_fingerprint == codec.code_fingerprint
        assert loaded.code_fingerprints == (other.code_fingerprint, other.fingerprint)


def test_names_of_earlier_codecs_are_saved_and_handed_on(tmp_path):
    first = make_codec()
    second, third = with_other_vocoder(first), with_other_vocoder(first, seed=2)
    second.keep_codes_of(first)
    second.save_pretrained(tmp_path / "second")
    third.keep_codes_of(HHCodec.from_pretrained(tmp_path / "second"))
    third.save_pretrained(tmp_path / "third")
    names = (first.code_fingerprint, third.fingerprint, second.fingerprint, first.fingerprint)
    assert HHCodec.from_pretrained(tmp_path / "third").code_fingerprints == names
    third.keep_codes_of(first)
    assert third.code_fingerprints == names


def test_names_are_dropped_when_the_codes_become_others():
    first = make_codec()
    second = with_other_vocoder(first)
    second.keep_codes_of(first)
    with torch.no_grad():
        next(second.encoder.parameters()).add_(1e-3)
    second.weights_changed()
    assert second.code_fingerprints == (second.code_fingerprint, second.fingerprint)


def test_names_of_other_codes_are_refused():
    with pytest.raises(ValueError, match="whose codes are others"):
        make_codec(0).keep_codes_of(make_codec(1))


def test_a_codec_without_earlier_names_is_stored_as_before(tmp_path):
    make_codec().save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() is None


def test_the_fingerprint_changes_with_any_weight():
    codec = make_codec()
    before = codec.fingerprint
    weight = next(codec.vocoder.parameters())
    with torch.no_grad():
        weight[0, 0, 0] += 1e-3
    codec.weights_changed()
    changed = codec.fingerprint
    with torch.no_grad():
        weight[0, 0, 0] -= 1e-3
    codec.weights_changed()
    assert changed != before == codec.fingerprint


def test_fingerprints_are_kept_in_eval_mode_until_weights_change():
    codec = make_codec()
    first = codec.fingerprint
    with torch.no_grad():
        next(codec.encoder.parameters()).add_(1e-3)
    assert codec.fingerprint == first
    codec.weights_changed()
    changed = codec.fingerprint
    assert changed != first
    assert codec.double().fingerprint != changed
    assert codec.float().fingerprint == changed


def test_fingerprints_of_a_codec_in_training_are_those_of_its_weights_now():
    codec = make_codec().train()
    seen = []
    for _ in range(2):
        seen.append(codec.fingerprint)
        with torch.no_grad():
            next(codec.decoder.parameters()).add_(1e-3)
    assert seen[0] != seen[1] != codec.eval().fingerprint


def test_loading_a_state_dict_changes_the_fingerprint():
    codec = make_codec()
    loaded = copy.deepcopy(codec)
    state = {name: value.clone() for name, value in codec.state_dict().items()}
    state["decoder.embed.bias"] += 1e-3
    loaded.load_state_dict(state)
    assert loaded.fingerprint != codec.fingerprint
    loaded.load_state_dict(codec.state_dict())
    assert loaded.fingerprint == codec.fingerprint


def test_codes_are_known_by_each_of_their_names_and_the_first_without_the_whole_codec():
    codec = make_codec()
    names = codec.code_fingerprints
    assert all(map(codec.has_codes_of, names))
    assert not codec.has_codes_of("0" * 16)
    codec.weights_changed()
    del codec.vocoder  # whose weights do not count for the codes
    assert codec.code_fingerprint == names[0]
    assert codec.has_codes_of(names[0])
