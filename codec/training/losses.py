"""Training losses, each a function of tensors to one fp32 scalar."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mel_l1(mel: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two log-mels (B, M, F), in nats; no further logarithm."""
    return (mel.float() - target.float()).abs().mean()


def discriminator_hinge(real_scores: list[Tensor], fake_scores: list[Tensor]) -> Tensor:
    """Hinge loss of the discriminators, averaged over them."""
    losses = [
        F.relu(1.0 - real.float()).mean() + F.relu(1.0 + fake.float()).mean()
        for real, fake in zip(real_scores, fake_scores, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_hinge(fake_scores: list[Tensor]) -> Tensor:
    """Hinge loss of the generator, averaged over the discriminators."""
    return torch.stack([F.relu(1.0 - fake.float()).mean() for fake in fake_scores]).mean()


def feature_matching(real_maps: list[list[Tensor]], fake_maps: list[list[Tensor]]) -> Tensor:
    """Mean absolute difference of the discriminators' feature maps; real ones are detached."""
    losses = [
        (real.detach().float() - fake.float()).abs().mean()
        for reals, fakes in zip(real_maps, fake_maps, strict=True)
        for real, fake in zip(reals, fakes, strict=True)
    ]
    return torch.stack(losses).mean()
