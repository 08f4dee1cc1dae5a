from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec

pytest.importorskip("transformers", reason="the adapter is for its users")

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel

from codec.adapters.transformers_model import HHCodecConfig, HHCodecFeatureExtractor, HHCodecModel
from tests.support.codecs import tiny_codec, voiced_codec


@pytest.fixture(scope="module")
def codec() -> HHCodec:
    return tiny_codec()


@pytest.fixture
def folder(codec: HHCodec, tmp_path: Path) -> Path:
    HHCodecModel.of(codec).save_pretrained(tmp_path)
    return tmp_path


def clips() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [0.1 * generator.standard_normal(n).astype(np.float32) for n in (5000, 2048)]


def test_the_auto_classes_load_a_folder_that_the_codec_loads_too(
    folder: Path, codec: HHCodec
) -> None:
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "config.yaml", "model.safetensors", "preprocessor_config.json"]
    model = AutoModel.from_pretrained(folder)
    assert isinstance(model, HHCodecModel)
    assert not model.training
    assert model.codec.fingerprint == codec.fingerprint
    assert HHCodec.from_pretrained(folder).fingerprint == codec.fingerprint
    config = AutoConfig.from_pretrained(folder)
    assert isinstance(config, HHCodecConfig)
    assert (config.sampling_rate, config.hop_length, config.num_quantizers) == (24_000, 1024, 1)
    assert config.frame_rate == codec.frame_rate
    assert CodecConfig.from_dict(config.codec) == codec.config
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    assert isinstance(extractor, HHCodecFeatureExtractor)
    assert (extractor.sampling_rate, extractor.hop_length) == (24_000, 1024)


def test_codes_and_waveforms_have_the_shapes_of_transformers(codec: HHCodec) -> None:
    model: Any = HHCodecModel.of(codec)  # gives an output or a tuple, as it is asked
    extractor = HHCodecFeatureExtractor()
    inputs = extractor(clips(), sampling_rate=24_000, return_tensors="pt")
    assert inputs["input_values"].shape == (2, 1, 5120)
    assert inputs["padding_mask"].sum(dim=1).tolist() == [5000, 2048]
    encoded = model.encode(**inputs)
    expected, _ = codec.encode(clips())
    assert encoded.audio_codes.equal(expected[:, None])
    assert encoded.audio_codes_mask.tolist() == [[1] * 5, [1, 1, 0, 0, 0]]
    decoded = model.decode(encoded.audio_codes, inputs["padding_mask"])
    waveform, _ = codec.decode(expected, [5, 2], [5000, 2048])
    assert decoded.audio_values.equal(waveform[:, None])
    whole = model(**inputs)
    assert whole.audio_codes.equal(encoded.audio_codes)
    assert whole.audio_values.equal(decoded.audio_values)
    assert model.decode(encoded.audio_codes).audio_values.shape == (2, 1, 5 * 1024)
    assert model.encode(**inputs, return_dict=False)[0].equal(encoded.audio_codes)


def test_clips_of_one_length_have_gradients(codec: HHCodec) -> None:
    model: Any = HHCodecModel.of(codec)
    values = torch.from_numpy(clips()[0])[None, None].requires_grad_()
    made = model(values)
    assert made.audio_values.shape == values.shape
    made.audio_values.square().mean().backward()
    assert values.grad is not None
    assert float(values.grad.abs().max()) > 0


@pytest.mark.parametrize("form", ["array", "list", "numbers", "int16"])
def test_recordings_of_any_form_are_extracted(form: str) -> None:
    clip = clips()[1]
    forms = {
        "array": clip,
        "list": [clip],
        "numbers": clip.tolist(),
        "int16": (clip * 32768).astype(np.int16),
    }
    found = HHCodecFeatureExtractor()(forms[form], return_tensors="np")
    assert found["input_values"].shape == (1, 1, 2048)
    np.testing.assert_allclose(found["input_values"][0, 0], clip, atol=1e-4)


def test_a_model_of_a_config_alone_has_fresh_weights(codec: HHCodec) -> None:
    torch.manual_seed(1)
    model = AutoModel.from_config(HHCodecConfig(codec.config.to_dict()))
    torch.manual_seed(1)
    assert model.codec.fingerprint == HHCodec(codec.config).fingerprint
    assert all(value.device.type == "cpu" for value in model.parameters())


def test_weights_of_a_trainer_are_saved(codec: HHCodec, tmp_path: Path) -> None:
    model = HHCodecModel.of(codec)
    changed = {name: value.clone() for name, value in model.state_dict().items()}
    changed["codec.decoder.embed.bias"] += 1.0
    model.save_pretrained(tmp_path, state_dict=changed, safe_serialization=True)
    loaded = AutoModel.from_pretrained(tmp_path, dtype="auto").codec
    bias = codec.decoder.embed.bias
    assert bias is not None
    assert loaded.decoder.embed.bias.equal(bias + 1.0)


def test_bundled_names_and_precisions_load() -> None:
    model = HHCodecModel.from_pretrained("hh-mini-24k", torch_dtype=torch.bfloat16)
    assert model.codec.dtype == model.dtype == torch.bfloat16
    assert model.config.codec["name"] == "hh-mini-24k"


def test_what_does_not_fit_is_refused(codec: HHCodec, folder: Path) -> None:
    model: Any = HHCodecModel.of(codec)  # gives an output or a tuple, as it is asked
    extractor = HHCodecFeatureExtractor()
    values = torch.zeros(1, 1, 2048)
    for call, message in (
        (lambda: extractor(clips(), sampling_rate=16_000), "at 24000 Hz, got 16000 Hz"),
        (lambda: model.encode(values, num_quantizers=8), "num_quantizers 1, got 8"),
        (lambda: model.encode(values, torch.zeros(2048)), r"mask \(B, N\)"),
        (lambda: model.encode(values, torch.arange(2048)[None] > 5), "padding on the right"),
        (lambda: model.decode(torch.zeros(1, 8, 3).long()), r"\(1, 8, 3\)"),
        (lambda: HHCodecConfig(sampling_rate=16_000), "sampling_rate: expected 24000"),
        (lambda: HHCodecModel.of(voiced_codec()), r"voice\.tokens: expected 0 for a model of"),
        (lambda: AutoModel.from_pretrained(folder, quantization_config={"a": 1}), "quantization"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_bundled_names_load_the_model_its_config_and_its_extractor(
    folder: Path, codec: HHCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = tmp_path / "bundled"
    codec.save_pretrained(bundled / "shipped")  # without the files of transformers
    monkeypatch.setattr("codec.model.pretrained.BUNDLED", bundled)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert HHCodecModel.from_pretrained("shipped").codec.fingerprint == codec.fingerprint
    config = HHCodecConfig.from_pretrained("shipped")
    assert CodecConfig.from_dict(config.codec) == codec.config
    extractor = HHCodecFeatureExtractor.from_pretrained("shipped")
    assert (extractor.sampling_rate, extractor.hop_length) == (24_000, 1024)
