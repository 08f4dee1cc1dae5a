from importlib.util import find_spec

import pytest
import torch

from codec.import_shims import without_einx
from codec.model.config import CodecConfig, CodecConfigError, QuantizerConfig
from codec.model.quantizer import SLMVQ
from codec.model.vector_quantization import EMAStage, SimVQStage, code_transform, set_identity

EMA = QuantizerConfig(codebook_size=4, dim=2, num_stages=1, kind="ema", normalize_latents=False)


@pytest.mark.parametrize("kind", ["mlp", "linear", "none"])
def test_every_transform_can_start_at_the_identity(kind):
    transform = code_transform(QuantizerConfig(dim=4, hidden_dim=16, transform=kind))
    set_identity(transform)
    points = torch.randn(20, 4)
    torch.testing.assert_close(transform(points), points)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (QuantizerConfig(32, 4, 16), 2 * (4 * 16 + 16 + 16 * 4 + 4)),
        (QuantizerConfig(32, 4, 16, shared_transform=True), 4 * 16 + 16 + 16 * 4 + 4),
        (QuantizerConfig(32, 4, 16, num_stages=1), 4 * 16 + 16 + 16 * 4 + 4),
        (QuantizerConfig(32, 4, 16, transform="linear"), 2 * 4 * 4),
        (QuantizerConfig(32, 4, 16, transform="none"), 0),
        (QuantizerConfig(32, 4, 16, kind="ema"), 0),
    ],
)
def test_every_kind_trains_and_gives_the_codes_it_trained_with(config, parameters):
    quantizer = SLMVQ(config)
    assert sum(p.numel() for p in quantizer.parameters()) == parameters
    quantizer.initialize(torch.randn(200, 4), seed=0)
    latents = torch.randn(2, 4, 30, requires_grad=True)
    quantizer.eval()
    result = quantizer(latents)
    (result.quantized.sum() + result.loss).backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0
    codes = quantizer.encode(latents)
    assert torch.equal(codes, result.codes)
    torch.testing.assert_close(quantizer.decode(codes), result.quantized, rtol=1e-5, atol=1e-5)


def test_averaged_entries_follow_the_latents_that_fall_on_them():
    stage = EMAStage(EMA)
    stage.fill(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]))
    latents = torch.tensor([[0.2, 0.2, 1.0], [0.0, 0.0, 0.1]])[None]  # (1, D, L)
    _, codes, loss = stage(latents)
    assert codes.tolist() == [[0, 0, 1]]
    # counts 0.99 + 0.01 * 2; sums 0.01 * 2 * 0.2
    torch.testing.assert_close(stage.entries[0], torch.tensor([0.004 / 1.01, 0.0]))
    torch.testing.assert_close(stage.entries[1], torch.tensor([1.0, 0.001]))
    assert loss.item() == pytest.approx(0.25 * (0.04 + 0.04 + 0.01) / 6, rel=1e-5)


def test_dead_entries_move_onto_latents_and_may_be_left():
    far = torch.full((4, 2), 50.0)
    far[0] = 0.0
    latents = torch.randn(1, 2, 64)
    for share, moved in ((0.1, True), (0.0, False)):
        stage = EMAStage(QuantizerConfig(4, 2, kind="ema", ema_dead_share=share, num_stages=1))
        stage.fill(far)
        for _ in range(400):
            stage(latents)
        assert bool((stage.entries[1:].abs().amax(1) < 10).all()) == moved


def test_averages_stand_still_in_eval_mode():
    stage = EMAStage(EMA).eval()
    before = stage.entries.clone()
    stage(torch.randn(1, 2, 16))
    assert torch.equal(stage.entries, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "rvq"}, "quantizer.kind"),
        ({"transform": "cnn"}, "quantizer.transform"),
        ({"hidden_dim": 4}, "quantizer.hidden_dim"),
        ({"ema_decay": 1.0}, "quantizer.ema_decay"),
    ],
)
def test_a_quantizer_that_cannot_be_built_is_refused(change, message):
    values = CodecConfig.preset("tiny").to_dict()
    values["quantizer"] |= change
    with pytest.raises(CodecConfigError, match=message):
        CodecConfig.from_dict(values)
    CodecConfig.from_dict(CodecConfig.preset("tiny").to_dict())


@pytest.mark.skipif(
    find_spec("vector_quantize_pytorch") is None, reason="vector-quantize-pytorch is not installed"
)
@pytest.mark.parametrize("transform", ["mlp", "linear"])
def test_simvq_and_its_gradients_are_those_of_the_package(transform):
    with without_einx():
        from vector_quantize_pytorch import SimVQ
    config = QuantizerConfig(64, 8, 16, transform=transform)
    ours = SimVQStage(config, code_transform(config))
    theirs = SimVQ(
        8, 64, codebook_transform=code_transform(config), channel_first=True, rotation_trick=True
    )
    theirs.load_state_dict(ours.state_dict())
    latents = torch.randn(2, 8, 20, requires_grad=True)
    results = []
    for stage in (ours, theirs):
        quantized, codes, loss = stage(latents)
        inputs = (latents, *stage.parameters())
        gradients = torch.autograd.grad(quantized.square().sum() + loss, inputs)
        results.append((quantized, codes, loss, *gradients))
    assert all(map(torch.equal, *results))


def test_quantized_latents_are_entries_and_pass_their_gradient_turned_back():
    config = QuantizerConfig(2, 2, num_stages=1, transform="none")
    stage = SimVQStage(config, code_transform(config))
    stage.fill(torch.tensor([[0.0, 2.0], [0.0, -2.0]]))
    latents = torch.tensor([[[1.0], [0.1]]], requires_grad=True)  # (1, D, 1), to the right
    quantized, codes, _ = stage(latents)
    torch.testing.assert_close(quantized.flatten(), torch.tensor([0.0, 2.0]))
    assert codes.tolist() == [[0]]
    (gradient,) = torch.autograd.grad(quantized[0, 1, 0], latents)
    # upwards, the way the entry lies, is along the latents, times the ratio of the lengths
    along = latents.detach().flatten() / latents.detach().norm()
    torch.testing.assert_close(gradient.flatten(), along * 2.0 / latents.detach().norm())
