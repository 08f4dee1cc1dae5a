from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from codec.training.adversarial import adversarial_losses
from codec.training.config import DiscriminatorConfig
from codec.training.discriminators import Discriminators
from codec.training.losses import feature_matching, generator_hinge

CONFIG = DiscriminatorConfig((2,), (256,), 2, band_n_ffts=(256,), band_channels=2)
WEIGHTS = {"adversarial": 0.1, "feature_matching": 0.2}


class Scores(nn.Module):
    """Scores that are the waveform's mean times a weight, and one map."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        score = self.weight * waveform.mean(1)
        return [score], [[score]]


def test_one_pass_gives_the_gradients_of_two() -> None:
    """The shared pass must equal separate generator and discriminator passes."""
    discriminators = Discriminators(CONFIG)
    real, fake = torch.randn(2, 2048), torch.randn(2, 2048)
    shared = adversarial_losses(discriminators, real, fake).generator_gradient(WEIGHTS)
    leaf = fake.clone().requires_grad_()
    scores, maps = discriminators(leaf)
    loss = 0.1 * generator_hinge(scores) + 0.2 * feature_matching(discriminators(real)[1], maps)
    (alone,) = torch.autograd.grad(loss, leaf)
    torch.testing.assert_close(shared, alone)


def test_the_generators_gradient_leaves_none_in_the_discriminators() -> None:
    discriminators = Discriminators(CONFIG)
    losses = adversarial_losses(discriminators, torch.randn(2, 2048), torch.randn(2, 2048))
    assert losses.generator_gradient(WEIGHTS).abs().sum() > 0
    assert all(parameter.grad is None for parameter in discriminators.parameters())


def test_the_discriminators_loss_sends_no_gradient_to_the_generator() -> None:
    source = torch.randn(2, 2048, requires_grad=True)
    discriminators = Discriminators(CONFIG)
    losses = adversarial_losses(discriminators, torch.randn(2, 2048), 1.0 * source)
    losses.backward_discriminators(discriminators)
    assert source.grad is None


def test_both_losses_are_hinge_losses() -> None:
    """Hand-made scores: real 0.5 * 2, generated -0.25 * 2."""
    discriminators = Scores()
    real, fake = torch.full((1, 4), 0.5), torch.full((1, 4), -0.25)
    losses = adversarial_losses(discriminators, real, fake)  # type: ignore[arg-type]
    assert losses.loss_disc.item() == pytest.approx(max(0, 1 - 1.0) + max(0, 1 - 0.5))
    assert losses.loss_gen["adversarial"].item() == pytest.approx(1 + 0.5)
    assert losses.loss_gen["feature_matching"].item() == pytest.approx(1.5)
    # d/dx of -0.1 * mean score over four samples, and of 0.2 * |difference of scores|
    expected = torch.full((1, 4), -0.1 * 2 / 4 - 0.2 * 2 / 4)
    torch.testing.assert_close(losses.generator_gradient(WEIGHTS), expected)


def test_each_kind_of_discriminator_weighs_alike_where_asked() -> None:
    """Two discriminators of one map each, then one of three: means 2 and 5."""
    real = [[torch.zeros(1)], [torch.zeros(1)], [torch.zeros(1)] * 3]
    fake = [[torch.ones(1)], [torch.full((1,), 3.0)], [torch.full((1,), 5.0)] * 3]
    assert feature_matching(real, fake).item() == pytest.approx((1 + 3 + 3 * 5) / 5)
    assert feature_matching(real, fake, (2, 0, 1)).item() == pytest.approx((2 + 5) / 2)
    discriminators, audio = Discriminators(CONFIG), torch.randn(2, 2, 2048)
    maps = [discriminators(waveform)[1] for waveform in audio]
    found = adversarial_losses(discriminators, audio[0], audio[1], by_kind=True)
    expected = torch.stack([feature_matching([a], [b]) for a, b in zip(*maps, strict=True)]).mean()
    torch.testing.assert_close(found.loss_gen["feature_matching"], expected)
