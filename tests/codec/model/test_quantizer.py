import copy

import pytest
import torch
from torch import Tensor, nn

from codec.model.config import QuantizerConfig
from codec.model.quantizer import SLMVQ
from codec.model.vector_quantization import SimVQStage, code_transform, kmeans, set_identity

CONFIG = QuantizerConfig(codebook_size=32, dim=4, hidden_dim=16)


def initialized(config=CONFIG):
    quantizer = SLMVQ(config)
    quantizer.initialize(torch.randn(500, config.dim) * 3 + 1, seed=0)
    return quantizer


def stage_of(quantizer: SLMVQ, index: int = 0) -> SimVQStage:
    stage = quantizer.stage(index)
    assert isinstance(stage, SimVQStage)
    return stage


def last_layer(transform: nn.Module) -> nn.Linear:
    assert isinstance(transform, nn.Sequential)
    layer = transform[2]
    assert isinstance(layer, nn.Linear)
    return layer


def gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def test_codes_equal_those_of_simvq():
    """Our cached search against the library's own forward, on the same codebook."""
    quantizer = initialized(QuantizerConfig(32, 4, 16, normalize_latents=False)).eval()
    latents = torch.randn(2, 4, 50)
    quantized, codes, _ = quantizer.stage(0)(latents)
    assert torch.equal(quantizer.encode(latents), codes)
    torch.testing.assert_close(quantizer.decode(codes), quantized, rtol=1e-5, atol=1e-6)


def test_hand_made_codebook_gives_the_nearest_entry():
    quantizer = SLMVQ(QuantizerConfig(4, 2, 4, num_stages=1, normalize_latents=False)).eval()
    set_identity(stage_of(quantizer).code_transform)
    stage_of(quantizer).frozen_codebook.copy_(
        torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    )
    latents = torch.tensor([[[0.1, 0.9, 0.2, 0.8], [0.2, 0.1, 0.7, 0.6]]])
    assert quantizer.encode(latents).tolist() == [[0, 1, 2, 3]]


def test_the_transform_starts_at_the_identity():
    transform = code_transform(CONFIG)
    set_identity(transform)
    points = torch.randn(20, 4)
    torch.testing.assert_close(transform(points), points)


def test_spare_hidden_units_of_the_identity_learn():
    transform = code_transform(CONFIG)
    set_identity(transform)
    transform(torch.randn(64, 4)).square().sum().backward()
    assert gradient(last_layer(transform).weight)[:, 8:].abs().sum() > 0


def test_filling_the_codebook_from_data_uses_it_while_a_random_start_does_not():
    """At random initialisation nearly all frames fall on a few codes."""
    latents = torch.randn(1, 4, 400) * 0.05 + 2.0
    config = QuantizerConfig(32, 4, 16, normalize_latents=False)
    random_start = SLMVQ(config).eval()
    filled = SLMVQ(config)
    filled.initialize(latents[0].T, seed=0)
    assert random_start.encode(latents).unique().numel() <= 4
    assert filled.eval().encode(latents).unique().numel() >= 30


def test_before_initialisation_latents_pass_with_the_noise_asked_for():
    quantizer = SLMVQ(CONFIG).train()
    latents = torch.randn(4, 4, 500) * 5 + 3
    clean = quantizer(latents).quantized
    torch.testing.assert_close(clean.mean(dim=(0, 2)), torch.zeros(4), rtol=0, atol=1e-4)
    noisy = quantizer(latents, noise=0.5).quantized
    assert float((noisy - clean).std()) == pytest.approx(0.5, rel=0.05)


def test_gradients_reach_latents_and_both_transforms():
    quantizer = initialized().train()
    latents = torch.randn(2, 4, 40, requires_grad=True)
    result = quantizer(latents)
    (result.quantized.square().sum() + result.loss).backward()
    assert gradient(latents).abs().sum() > 0
    for index in (0, 1):
        weight = last_layer(stage_of(quantizer, index).code_transform).weight
        assert gradient(weight).abs().sum() > 0


def test_the_second_stage_only_trains():
    quantizer = initialized().eval()
    latents = torch.randn(1, 4, 30)
    before = quantizer.encode(latents)
    stage_of(quantizer, 1).frozen_codebook.add_(5.0)
    assert torch.equal(quantizer.encode(latents), before)


def test_the_cached_codebook_follows_loaded_weights():
    quantizer = initialized().eval()
    other = copy.deepcopy(quantizer)
    with torch.no_grad():
        last_layer(stage_of(other).code_transform).bias.add_(1.0)
    stale = quantizer.codebook.clone()
    quantizer.load_state_dict(other.state_dict())
    torch.testing.assert_close(quantizer.codebook, stale + 1.0)


def test_codes_do_not_change_under_autocast():
    quantizer = initialized().eval()
    latents = torch.randn(1, 4, 64)
    with torch.autocast("cpu", torch.bfloat16):
        codes = quantizer.encode(latents)
    assert torch.equal(codes, quantizer.encode(latents))


def test_decode_refuses_codes_outside_the_codebook():
    with pytest.raises(ValueError, match=r"0\.\.31"):
        initialized().eval().decode(torch.tensor([[3, 32]]))


def test_stages_share_their_transform_when_asked_to():
    shared = SLMVQ(QuantizerConfig(32, 4, 16, shared_transform=True))
    assert shared.stage(0).code_transform is shared.stage(1).code_transform
    separate = SLMVQ(CONFIG)
    assert separate.stage(0).code_transform is not separate.stage(1).code_transform


def test_kmeans_finds_separated_clusters():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = (centres[:, None] + 0.1 * torch.randn(3, 50, 2)).flatten(0, 1)
    found = kmeans(points, 3, 20, torch.Generator().manual_seed(1))
    assert torch.cdist(centres, found).min(dim=1).values.max() < 0.1


def test_kmeans_takes_fewer_points_than_clusters():
    centres = kmeans(torch.randn(5, 2), 16, 2, torch.Generator().manual_seed(0))
    assert centres.shape == (16, 2)
    assert torch.isfinite(centres).all()


@pytest.mark.parametrize("kind", ["simvq", "ema"])
def test_refining_moves_entries_to_the_means_of_their_latents(kind):
    torch.manual_seed(0)
    quantizer = initialized(QuantizerConfig(32, 4, 16, kind=kind)).eval()
    latents = torch.randn(2000, 4) * 3 + 1
    before, after = quantizer.refine(latents, 1)
    assert after < before
    # one step: each entry that had latents is their mean
    quantizer = copy.deepcopy(quantizer)
    points = quantizer.normalize(latents.T[None])[0].T
    codes = quantizer.encode(latents.T[None])[0]
    quantizer.refine(latents, 1)
    for code in codes.unique().tolist()[:5]:
        mean = points[codes == code].mean(0)
        torch.testing.assert_close(quantizer.codebook[code], mean, atol=1e-4, rtol=1e-4)


def test_no_steps_of_refinement_leave_the_codes():
    quantizer = initialized().eval()
    latents = torch.randn(1, 4, 300) * 3 + 1
    codes = quantizer.encode(latents)
    before, after = quantizer.refine(latents[0].T, 0)
    assert before == after
    assert torch.equal(quantizer.encode(latents), codes)


def test_cells_and_empty_codebooks_cannot_be_refined():
    cells = SLMVQ(QuantizerConfig(64, 8, num_stages=1, kind="bsq"))
    with pytest.raises(ValueError, match="expected learnt entries to refine, got an empty"):
        cells.refine(torch.randn(10, 8), 1)
    cells.enable()
    with pytest.raises(ValueError, match="expected learnt entries to refine, got bsq"):
        cells.refine(torch.randn(10, 8), 1)


def test_a_codebook_is_not_refined_on_fewer_latents_than_it_has_entries():
    """Of 10 ms the error was divided by no variance, and entries became single latents."""
    quantizer = initialized().eval()
    before = quantizer.codebook.clone()
    few = quantizer.config.codebook_size - 1
    with pytest.raises(ValueError, match=rf"latents: expected {few + 1} or more .*, got {few}"):
        quantizer.refine(torch.randn(few, 4), 1)
    assert torch.equal(quantizer.codebook, before)
    # Of silence, whose latents are all alike.
    errors = quantizer.refine(torch.zeros(few + 1, 4), 1)
    assert torch.tensor(errors).isfinite().all()


def test_every_centre_of_few_or_equal_points_is_another():
    generator = torch.Generator().manual_seed(0)
    few, equal = torch.randn(10, 8, generator=generator), torch.zeros(50, 8)
    # As of silence: fewer different points than centres.
    silent = torch.cat([torch.zeros(900, 8), torch.randn(20, 8, generator=generator)])
    for points in (few, equal, silent, few[:1]):
        centres = kmeans(points, 64, 10, generator)
        assert len(torch.unique(centres, dim=0)) == 64
        # every point still has its centre
        assert torch.cdist(points, centres).min(dim=1).values.max() < 0.1


def test_centres_of_many_different_points_need_no_noise():
    points = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    expected = points[torch.randperm(1000, generator=generator)[:64]]
    assert torch.equal(kmeans(points, 64, 0, torch.Generator().manual_seed(1)), expected)
