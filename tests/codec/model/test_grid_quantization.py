from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.model.config import QuantizerConfig
from codec.model.grid_quantization import GridStage
from codec.model.quantizer import SLMVQ

FSQ = QuantizerConfig(64, 8, num_stages=1, kind="fsq", levels=(4, 4, 2, 2))
BSQ = QuantizerConfig(64, 8, num_stages=1, kind="bsq")
FULL = {
    "fsq": QuantizerConfig(8192, 16, num_stages=1, kind="fsq"),
    "bsq": QuantizerConfig(8192, 16, num_stages=1, kind="bsq"),
}


def correlated(count: int, dim: int = 8) -> torch.Tensor:
    """(N, D) points of few dimensions, as latents are."""
    scales = torch.linspace(3.0, 0.2, dim)
    return torch.randn(count, dim) * scales @ torch.linalg.qr(torch.randn(dim, dim))[0] + 1


def filled(config: QuantizerConfig) -> SLMVQ:
    quantizer = SLMVQ(config)
    quantizer.initialize(correlated(4000, config.dim), seed=0)
    return quantizer


def stage_of(quantizer: SLMVQ) -> GridStage:
    stage = quantizer.stage(0)
    assert isinstance(stage, GridStage)
    return stage


@pytest.mark.parametrize("config", [FSQ, BSQ, FULL["fsq"], FULL["bsq"]])
def test_every_code_is_the_cell_of_its_own_centre(config: QuantizerConfig) -> None:
    """Identity maps: a code decodes to a point that is encoded to that code."""
    stage = stage_of(SLMVQ(config))
    count = len(config.grid)
    with torch.no_grad():
        for layer in (stage.project_in, stage.project_out):
            layer.bias.zero_()
            torch.nn.init.eye_(layer.weight)
    codebook = stage.codebook.detach()
    assert codebook.shape == (config.codebook_size, config.dim)
    # before tanh: the map is the identity behind it
    before = torch.atanh(codebook.clone()[:, :count]) / 0.8 if config.kind == "fsq" else codebook
    points = torch.zeros_like(codebook)
    points[:, :count] = before[:, :count]
    assert torch.equal(stage.encode(points), torch.arange(config.codebook_size))


def test_corners_of_the_sphere_have_unit_length() -> None:
    stage = stage_of(SLMVQ(BSQ))
    digits = torch.tensor([[0, 1, 0, 1, 1, 0]])
    torch.testing.assert_close(stage._centres(digits).norm(), torch.tensor(1.0))


@pytest.mark.parametrize("config", [FSQ, BSQ])
def test_codes_of_training_are_those_of_inference(config: QuantizerConfig) -> None:
    quantizer = filled(config).eval()
    latents = correlated(100)[None].transpose(1, 2)
    found = quantizer(latents)
    codes = quantizer.encode(latents)
    assert torch.equal(found.codes, codes)
    assert 0 <= int(codes.min()) <= int(codes.max()) < 64
    torch.testing.assert_close(quantizer.decode(codes), found.quantized, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["fsq", "bsq"])
def test_a_start_from_data_uses_the_codes_and_keeps_the_latents(kind: str) -> None:
    quantizer = filled(FULL[kind]).eval()
    latents = correlated(6000, 16)[None].transpose(1, 2)
    found = quantizer(latents)
    assert found.codes.unique().numel() > 2000
    drawn = SLMVQ(FULL[kind])
    drawn.enable()
    assert found.relative_error is not None
    error = drawn.eval()(latents).relative_error
    assert error is not None
    assert float(found.relative_error) < min(0.8, float(error))


@pytest.mark.parametrize("config", [FSQ, BSQ])
def test_gradients_reach_latents_and_both_maps(config: QuantizerConfig) -> None:
    quantizer = filled(config).train()
    latents = correlated(40)[None].transpose(1, 2).requires_grad_()
    quantizer(latents).quantized.square().sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0
    for parameter in stage_of(quantizer).parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


def test_the_loss_is_the_entropy_where_it_is_asked_for() -> None:
    latents = correlated(200)[None].transpose(1, 2)
    assert float(filled(FSQ).train()(latents).loss.detach()) == 0.0
    quantizer = filled(replace(FSQ, entropy=0.5)).train()
    loss = quantizer(latents).loss
    assert -0.5 <= float(loss.detach()) <= 0.5
    loss.backward()
    assert stage_of(quantizer).project_in.weight.grad is not None


@pytest.mark.parametrize("config", [FSQ, BSQ])
def test_the_entropy_is_least_for_sure_choices_of_all_levels(config: QuantizerConfig) -> None:
    stage = stage_of(SLMVQ(config))
    digits = torch.arange(64)[:, None] // stage.strides % stage.levels
    centres = stage._centres(digits)
    even, one = stage.entropy(centres), stage.entropy(centres[:1].repeat(64, 1))
    assert float(even) < -0.7
    assert float(one) == pytest.approx(0.0, abs=1e-5)
    assert float(stage.entropy(torch.zeros(64, len(config.grid)))) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("kind", ["fsq", "bsq"])
def test_a_codec_of_cells_is_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    tiny = CodecConfig.preset("tiny")
    codec = HHCodec(replace(tiny, quantizer=replace(FSQ if kind == "fsq" else BSQ)))
    codec.quantizer.initialize(correlated(500), seed=0)
    codec.eval().save_pretrained(tmp_path)
    loaded = HHCodec.from_pretrained(tmp_path)
    waveform = 0.1 * torch.randn(1, 8192)
    codes, lengths = codec.encode(waveform)
    assert torch.equal(loaded.encode(waveform)[0], codes)
    assert torch.equal(loaded.decode(codes, lengths)[0], codec.decode(codes, lengths)[0])
    assert loaded.codebook.shape == (64, 8)
    assert loaded.fingerprint == codec.fingerprint


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"kind": "fsq", "levels": (8, 4)}, "levels"),
        ({"kind": "fsq", "levels": (64, 1)}, "levels"),
        ({"kind": "bsq", "codebook_size": 100}, "codebook_size"),
        ({"kind": "bsq", "num_stages": 2}, "num_stages"),
        ({"kind": "bsq", "dim": 4}, "dim"),
        ({"kind": "bsq", "entropy": -1.0}, "entropy"),
    ],
)
def test_a_grid_whose_cells_are_not_the_codes_is_refused(
    values: dict[str, Any], field: str
) -> None:
    given = {"codebook_size": 64, "dim": 8, "num_stages": 1, "levels": (4, 4, 2, 2), **values}
    with pytest.raises(ValueError, match=f"quantizer.{field}: expected"):
        QuantizerConfig(**given)
