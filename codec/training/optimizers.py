"""Learning-rate schedule and parameter groups."""

from __future__ import annotations

import math
from typing import Any

from codec.model.hh_codec import HHCodec

from .config import PhaseConfig


def learning_rate_factor(phase: PhaseConfig, step: int) -> float:
    """Share of the peak learning rate at a generator step; see `PhaseConfig.schedule`."""
    # linear warmup
    if step < phase.warmup_steps:
        return (step + 1) / phase.warmup_steps
    # stable at 1, then linear decay to 0.01
    if phase.schedule == "wsd":
        decay_steps = max(1, round(phase.decay_share * phase.steps))
        return min(1.0, max(0.01, (phase.steps - step) / decay_steps))
    # half a cosine from 1 to 0.01
    progress = (step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def generator_groups(codec: HHCodec, phase: PhaseConfig) -> list[dict[str, Any]]:
    """Parameter groups of the generator, one a part, with its own `peak` learning rate."""
    groups = []
    for part in phase.train:
        parameters = [p for p in codec.get_submodule(part).parameters() if p.requires_grad]
        peak = phase.learning_rate * phase.part_rates.get(part, 1.0)
        if parameters:
            groups.append({"params": parameters, "peak": peak})
    return groups
