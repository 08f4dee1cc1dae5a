from __future__ import annotations

from dataclasses import replace

import pytest

from codec import CodecConfig, HHCodec
from codec.training.config import PhaseConfig
from codec.training.optimizers import generator_groups, learning_rate_factor

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
