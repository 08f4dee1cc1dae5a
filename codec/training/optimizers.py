"""Optimizers of a phase: learning-rate schedule, parameter groups, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from codec.model.hh_codec import HHCodec

from .config import PhaseConfig


def learning_rate_factor(phase: PhaseConfig, step: int) -> float:
    """Share of the peak learning rate at a generator step; see `PhaseConfig.schedule`."""
    if step < phase.warmup_steps:
        return _warmup(phase, step)
    # stable at 1, then linear decay to 0.01
    if phase.schedule == "wsd":
        decay_steps = max(1, round(phase.decay_share * phase.steps))
        return min(1.0, max(0.01, (phase.steps - step) / decay_steps))
    # half a cosine from 1 to 0.01
    progress = (step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def discriminator_rate_factor(phase: PhaseConfig, step: int, start: int | None = None) -> float:
    """Share of the discriminators' peak rate: that of the schedule, warmed up where they begin.

    They begin at `start`; None is `adversarial_from`.
    """
    begun = max(0, step - (phase.adversarial_from if start is None else start))
    return min(learning_rate_factor(phase, step), _warmup(phase, begun))


def _warmup(phase: PhaseConfig, step: int) -> float:
    """Linear rise to 1 over the steps of the warmup, from the first one on."""
    return min(1.0, (step + 1) / max(1, phase.warmup_steps))


def clip_gradients(groups: Sequence[Sequence[Tensor]], limit: float) -> Tensor:
    """Clip the gradient of every group of parameters to a norm; the norm of all before."""
    norms = [torch.nn.utils.clip_grad_norm_(group, limit) for group in groups]
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))


def build_optimizers(
    codec: HHCodec, phase: PhaseConfig, head: Sequence[Tensor], ensembles: Mapping[str, nn.Module]
) -> list[torch.optim.Optimizer]:
    """Build AdamW for the generator, and another for every ensemble of discriminators.

    Args:
        codec: The generator.
        phase: Parts that train, rates, betas and weight decay.
        head: Further parameters of the generator's optimizer; none where empty.
        ensembles: Discriminators by the output that they see, in the order of their optimizers.
    """
    networks = [generator_groups(codec, phase)]
    if head:
        networks[0].append({"params": list(head), "peak": phase.learning_rate})
    peak = phase.discriminator_learning_rate
    peak = phase.learning_rate if peak is None else peak
    for ensemble in ensembles.values():
        networks.append([{"params": list(ensemble.parameters()), "peak": peak}])
    # The schedule multiplies each group's `peak`; checkpoints hold that name.
    adam = {"betas": phase.betas, "weight_decay": phase.weight_decay}
    return [torch.optim.AdamW(groups, lr=phase.learning_rate, **adam) for groups in networks]


def set_rates(
    optimizers: Sequence[Any], phase: PhaseConfig, step: int, ensembles: Iterable[str]
) -> None:
    """Set the learning rates of a step in optimizers as of `build_optimizers`."""
    starts = {"waveform": phase.adversarial_from, "mel": phase.mel_adversarial_from}
    factors = [learning_rate_factor(phase, step)]
    factors += [discriminator_rate_factor(phase, step, starts[name]) for name in ensembles]
    for optimizer, factor in zip(optimizers, factors, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * factor


def generator_groups(codec: HHCodec, phase: PhaseConfig) -> list[dict[str, Any]]:
    """Parameter groups of the generator, one a part, with its own `peak` learning rate."""
    groups = []
    for part in phase.train:
        parameters = [p for p in codec.get_submodule(part).parameters() if p.requires_grad]
        peak = phase.learning_rate * phase.part_rates.get(part, 1.0)
        if parameters:
            groups.append({"params": parameters, "peak": peak})
    return groups
