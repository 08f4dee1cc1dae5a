from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from codec import CodecConfig, HHCodec
from codec.training.config import PhaseConfig
from codec.training.optimizers import (
    clip_gradients,
    discriminator_rate_factor,
    generator_groups,
    learning_rate_factor,
)

PHASE = PhaseConfig(steps=100, warmup_steps=10)


def test_the_cosine_rises_linearly_and_ends_at_a_hundredth() -> None:
    assert learning_rate_factor(PHASE, 0) == pytest.approx(0.1)
    assert learning_rate_factor(PHASE, 9) == learning_rate_factor(PHASE, 10) == pytest.approx(1.0)
    assert learning_rate_factor(PHASE, 55) == pytest.approx(0.505)
    assert learning_rate_factor(PHASE, 100) == pytest.approx(0.01)


def test_warmup_stable_decay_stays_at_the_peak_and_falls_linearly() -> None:
    phase = replace(PHASE, schedule="wsd", decay_share=0.2)
    assert [learning_rate_factor(phase, step) for step in (9, 10, 50, 80)] == [
        pytest.approx(1.0)
    ] * 4
    assert learning_rate_factor(phase, 90) == pytest.approx(0.5)
    assert learning_rate_factor(phase, 99) == pytest.approx(0.05)
    assert learning_rate_factor(phase, 100) == pytest.approx(0.01)


def test_parts_learn_at_their_own_rates_and_frozen_ones_not_at_all() -> None:
    codec = HHCodec(CodecConfig.preset("tiny"))
    codec.encoder.requires_grad_(False)
    phase = replace(PHASE, learning_rate=1e-3, part_rates={"vocoder": 0.25})
    groups = generator_groups(codec, phase)
    assert [group["peak"] for group in groups] == [1e-3, 1e-3, 2.5e-4]
    trained = sum(p.numel() for group in groups for p in group["params"])
    assert trained == sum(p.numel() for p in codec.parameters() if p.requires_grad)


def test_a_phase_that_another_goes_on_from_may_end_at_the_peak() -> None:
    phase = replace(PHASE, schedule="wsd", decay_share=0.0)
    assert [learning_rate_factor(phase, step) for step in (9, 50, 99)] == [1.0] * 3


def test_discriminators_warm_up_from_where_they_begin() -> None:
    phase = replace(PHASE, adversarial_from=40, schedule="wsd", decay_share=0.2)
    assert [discriminator_rate_factor(phase, step) for step in (40, 44, 49, 60)] == [
        pytest.approx(share) for share in (0.1, 0.5, 1.0, 1.0)
    ]
    assert discriminator_rate_factor(phase, 90) == learning_rate_factor(phase, 90)
    at_once = replace(phase, adversarial_from=0)
    for step in range(100):
        assert discriminator_rate_factor(at_once, step) == learning_rate_factor(at_once, step)


def test_clipping_by_part_leaves_small_gradients_beside_large_ones() -> None:
    def gradients(*groups: list[int]) -> tuple[list[Tensor], float]:
        parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
        for parameter, size in zip(parameters, (40.0, 3.0), strict=True):
            parameter.grad = torch.full((1,), size)
        norm = clip_gradients([[parameters[n] for n in group] for group in groups], 4.0)
        return [p.grad for p in parameters if p.grad is not None], norm.item()

    together, norm = gradients([0, 1])
    apart, same = gradients([0], [1])
    assert norm == pytest.approx((40.0**2 + 3.0**2) ** 0.5) == same
    assert together[1].item() == pytest.approx(3.0 * 4.0 / norm)
    assert [gradient.item() for gradient in apart] == [pytest.approx(4.0), pytest.approx(3.0)]
