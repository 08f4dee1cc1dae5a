"""The adversarial step: one pass of the discriminators serves the losses of both networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .discriminators import Discriminators
from .forward import ForwardPass
from .losses import discriminator_hinge, feature_matching, generator_hinge


@dataclass(frozen=True)
class AdversarialLosses:
    """Losses of generator and discriminators from one pass over a batch."""

    fake: Tensor  # (B, T) generated, detached from the generator: a leaf that takes a gradient
    loss_gen: dict[str, Tensor]  # unweighted scalars, "adversarial" and "feature_matching"
    loss_disc: Tensor  # scalar

    def generator_gradient(self, weights: Mapping[str, float]) -> Tensor:
        """Gradient (B, T) of the weighted `loss_gen` with respect to the generated waveform.

        No parameter of a discriminator receives one, and the graph is kept.
        """
        loss = torch.stack([weight * self.loss_gen[name] for name, weight in weights.items()]).sum()
        (gradient,) = torch.autograd.grad(loss, self.fake, retain_graph=True)
        return gradient

    def backward_discriminators(self, discriminators: Discriminators) -> None:
        """Accumulate the gradients of `loss_disc` in the discriminators, and free the graph."""
        self.loss_disc.backward(inputs=[p for p in discriminators.parameters() if p.requires_grad])


def adversarial_losses(
    discriminators: Discriminators, real: Tensor, fake: Tensor, *, by_kind: bool = False
) -> AdversarialLosses:
    """Run the discriminators on recordings and on generated audio (B, T), once each.

    With `by_kind` feature matching is averaged over each kind of discriminator first.
    """
    # The pass over `fake` begins at a leaf, so that its gradient stops there and can be read.
    fake = fake.detach().requires_grad_()
    real_scores, real_maps = discriminators(real)
    fake_scores, fake_maps = discriminators(fake)
    loss_gen = {
        "adversarial": generator_hinge(fake_scores),
        "feature_matching": feature_matching(
            real_maps, fake_maps, discriminators.kinds if by_kind else None
        ),
    }
    return AdversarialLosses(fake, loss_gen, discriminator_hinge(real_scores, fake_scores))


def backward_generator_and_discriminators(
    outputs: ForwardPass,
    losses: Mapping[str, Tensor],
    weights: Mapping[str, float],
    adversarial: AdversarialLosses | None,
    discriminators: Discriminators | None,
) -> None:
    """Accumulate the gradients of a step, in each network those of its own losses only.

    Args:
        outputs: Of the generator's forward pass.
        losses: Unweighted losses of the generator but for the adversarial ones.
        weights: Of all losses by name.
        adversarial: Of `outputs.waveform`; None while the discriminators are off.
        discriminators: Those of `adversarial`.
    """
    roots = [weights[name] * loss for name, loss in losses.items() if loss.requires_grad]
    gradients = [torch.ones_like(root) for root in roots]
    if adversarial is not None:
        assert outputs.waveform is not None
        assert discriminators is not None
        if outputs.waveform.requires_grad:
            # loss_gen enters the generator at its waveform, with the gradient found above the cut:
            # so the discriminators' parameters get none of it.
            used = {name: weights[name] for name in adversarial.loss_gen if weights[name] > 0}
            roots.append(outputs.waveform)
            gradients.append(adversarial.generator_gradient(used))
        adversarial.backward_discriminators(discriminators)
    torch.autograd.backward(roots, gradients)
