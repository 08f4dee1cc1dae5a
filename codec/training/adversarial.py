"""The adversarial step: one pass of the discriminators serves the losses of both networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .discriminators import Ensemble
from .forward import ForwardPass
from .losses import (
    discriminator_hinge,
    discriminator_least_squares,
    feature_matching,
    generator_hinge,
    generator_least_squares,
)

# Before the names of an ensemble's losses, by the output that it sees.
PREFIXES = {"waveform": "", "mel": "mel_"}


@dataclass(frozen=True)
class AdversarialLosses:
    """Losses of generator and discriminators from one pass over a batch."""

    # Generated waveform (B, T) or log-mel (B, M, F), detached from the generator: a leaf that takes
    # a gradient.
    fake: Tensor
    # Unweighted scalars, "adversarial" and "feature_matching", of a log-mel with "mel_" before.
    loss_gen: dict[str, Tensor]
    loss_disc: Tensor  # scalar

    def generator_gradient(self, weights: Mapping[str, float]) -> Tensor:
        """Gradient of the weighted `loss_gen` with respect to `fake`, in its shape.

        No parameter of a discriminator receives one, and the graph is kept.
        """
        loss = torch.stack([weight * self.loss_gen[name] for name, weight in weights.items()]).sum()
        (gradient,) = torch.autograd.grad(loss, self.fake, retain_graph=True)
        return gradient

    def backward_discriminators(self, discriminators: Ensemble) -> None:
        """Accumulate the gradients of `loss_disc` in the discriminators, and free the graph."""
        self.loss_disc.backward(inputs=[p for p in discriminators.parameters() if p.requires_grad])


def adversarial_losses(
    discriminators: Ensemble,
    real: Tensor,
    fake: Tensor,
    *,
    by_kind: bool = False,
    loss: str = "hinge",
    prefix: str = "",
) -> AdversarialLosses:
    """Run the discriminators on recordings and on what was generated, once each.

    Args:
        discriminators: Of waveforms or of log-mels.
        real: (B, T) or (B, M, F).
        fake: Of the same shape.
        by_kind: Average feature matching over each kind of discriminator first.
        loss: "hinge" or "least_squares".
        prefix: Of the names of the generator's losses.
    """
    # The pass over `fake` begins at a leaf, so that its gradient stops there and can be read.
    fake = fake.detach().requires_grad_()
    real_scores, real_maps = discriminators(real)
    fake_scores, fake_maps = discriminators(fake)
    of_generator, of_discriminators = generator_hinge, discriminator_hinge
    if loss == "least_squares":
        of_generator, of_discriminators = generator_least_squares, discriminator_least_squares
    loss_gen = {
        f"{prefix}adversarial": of_generator(fake_scores),
        f"{prefix}feature_matching": feature_matching(
            real_maps, fake_maps, discriminators.kinds if by_kind else None
        ),
    }
    return AdversarialLosses(fake, loss_gen, of_discriminators(real_scores, fake_scores))


def backward_generator_and_discriminators(
    outputs: ForwardPass,
    losses: Mapping[str, Tensor],
    weights: Mapping[str, float],
    adversarial: Mapping[str, AdversarialLosses],
    discriminators: Mapping[str, Ensemble],
) -> None:
    """Accumulate the gradients of a step, in each network those of its own losses only.

    Args:
        outputs: Of the generator's forward pass.
        losses: Unweighted losses of the generator but for the adversarial ones.
        weights: Of all losses by name.
        adversarial: By the output that they are of, "waveform" or "mel"; empty while the
            discriminators are off.
        discriminators: Those of `adversarial`, by the same names.
    """
    roots = [weights[name] * loss for name, loss in losses.items() if loss.requires_grad]
    gradients = [torch.ones_like(root) for root in roots]
    for name, found in adversarial.items():
        output = outputs.generated(name)
        if output.requires_grad:
            # loss_gen enters the generator at its output, with the gradient found above the cut:
            # so the discriminators' parameters get none of it.
            used = {each: weights[each] for each in found.loss_gen if weights[each] > 0}
            roots.append(output)
            gradients.append(found.generator_gradient(used))
        found.backward_discriminators(discriminators[name])
    torch.autograd.backward(roots, gradients)
