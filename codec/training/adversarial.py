"""The two-player step: one pass of the discriminators serves them and the generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .discriminators import Discriminators
from .forward import Generated
from .losses import discriminator_hinge, feature_matching, generator_hinge


@dataclass(frozen=True)
class Verdict:
    """What the discriminators make of a batch.

    Attributes:
        heard: (B, T) generated waveform, cut off from the generator.
        terms: the generator's unweighted terms, "adversarial" and "feature_matching".
        own: scalar, the discriminators' own loss.
    """

    heard: Tensor
    terms: dict[str, Tensor]
    own: Tensor

    def gradient(self, weights: dict[str, float]) -> Tensor:
        """Gradient (B, T) of the weighted terms for the generated waveform.

        No parameter of a discriminator receives one.
        """
        judged = torch.stack([weight * self.terms[name] for name, weight in weights.items()]).sum()
        (gradient,) = torch.autograd.grad(judged, self.heard, retain_graph=True)
        return gradient

    def teach(self, discriminators: Discriminators) -> None:
        """Give the discriminators the gradients of their own loss; ends the use of the pass."""
        self.own.backward(inputs=[p for p in discriminators.parameters() if p.requires_grad])


def judge(discriminators: Discriminators, real: Tensor, fake: Tensor) -> Verdict:
    """Hear real and generated audio once each.

    Args:
        discriminators: unchanged.
        real: (B, T) recordings; what is computed of them gets no gradient from the generator.
        fake: (B, T) generated.
    """
    heard = fake.detach().requires_grad_()
    real_scores, real_maps = discriminators(real)
    fake_scores, fake_maps = discriminators(heard)
    terms = {
        "adversarial": generator_hinge(fake_scores),
        "feature_matching": feature_matching(real_maps, fake_maps),
    }
    return Verdict(heard, terms, discriminator_hinge(real_scores, fake_scores))


def backward_both(
    made: Generated,
    terms: dict[str, Tensor],
    weights: dict[str, float],
    verdict: Verdict | None,
    discriminators: Discriminators | None,
) -> None:
    """Give both players the gradients of a step, each only its own.

    Args:
        made: the generator's pass.
        terms: its unweighted terms, those of the discriminators left out.
        weights: of all terms by name.
        verdict: on `made.waveform`; None while the discriminators are off.
        discriminators: that gave the verdict.
    """
    outputs = [weights[name] * term for name, term in terms.items() if term.requires_grad]
    seeds = [torch.ones_like(term) for term in outputs]
    if verdict is not None:
        assert made.waveform is not None
        assert discriminators is not None
        if made.waveform.requires_grad:
            wanted = {name: weights[name] for name in verdict.terms if weights[name] > 0}
            outputs.append(made.waveform)
            seeds.append(verdict.gradient(wanted))
        verdict.teach(discriminators)
    torch.autograd.backward(outputs, seeds)
