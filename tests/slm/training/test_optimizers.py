from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from slm.model.speech_lm import SpeechLM
from slm.training.config import TrainingSettings
from slm.training.optimizers import MuonAdamW, learning_rate, new_optimizer, orthogonal


def settings(**changes: Any) -> TrainingSettings:
    return TrainingSettings(
        **{
            "max_steps": 100,
            "warmup_steps": 10,
            "learning_rate": 1.0,
            "min_learning_rate": 0.1,
            **changes,
        }
    )


def test_the_rate_warms_up_and_falls_to_its_minimum() -> None:
    rates = [learning_rate(step, settings()) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_rate_stays_at_its_peak_until_the_decay_begins() -> None:
    wsd = settings(schedule="wsd", decay_fraction=0.2)
    rates = [learning_rate(step, wsd) for step in range(101)]
    assert rates[:10] == [learning_rate(step, settings()) for step in range(10)]
    assert set(rates[10:81]) == {1.0}
    assert rates[90] == pytest.approx(0.55)
    assert rates[100] == pytest.approx(0.1)


def test_only_matrices_decay(lm: SpeechLM) -> None:
    optimizer = new_optimizer(lm, lm.embedding.weight, lm.head.weight, settings())
    decayed, kept = (group["params"] for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert all(p.ndim == 2 for p in decayed)
    assert {p.ndim for p in kept if p is not lm.embedding.weight} == {1}
    assert any(p is lm.embedding.weight for p in kept)
    assert any(p is lm.head.weight for p in decayed)
    assert len(decayed) + len(kept) == len(list(lm.parameters()))


def test_the_fused_kernel_makes_the_steps_of_the_plain_one(
    make_lm: Callable[..., SpeechLM],
) -> None:
    lm, twin = make_lm(gain=1.0), make_lm(gain=1.0)
    fused = new_optimizer(lm, lm.embedding.weight, lm.head.weight, settings(learning_rate=1e-2))
    assert all(group["fused"] for group in fused.param_groups)
    plain = new_optimizer(
        twin, twin.embedding.weight, twin.head.weight, settings(learning_rate=1e-2)
    )
    for group in plain.param_groups:
        group["fused"] = None
    for _ in range(3):
        for parameter, other in zip(lm.parameters(), twin.parameters(), strict=True):
            parameter.grad = torch.randn_like(parameter)
            other.grad = parameter.grad.clone()
        fused.step()
        plain.step()
    for parameter, other in zip(lm.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter, other)


def test_muon_turns_hidden_matrices_and_adamw_the_rest(lm: SpeechLM) -> None:
    optimizer = new_optimizer(lm, lm.embedding.weight, lm.head.weight, settings(optimizer="muon"))
    assert isinstance(optimizer, MuonAdamW)
    hidden = [p for group in optimizer.param_groups if group["muon"] for p in group["params"]]
    expected = [p for p in lm.decoder.parameters() if p.ndim == 2]
    assert {id(p) for p in hidden} == {id(p) for p in expected}


def test_a_muon_step_is_that_of_torch_for_both_kinds_of_parameter() -> None:
    torch.manual_seed(0)
    shapes = [(6, 10), (12, 4), (5,), (7, 3)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    groups = [{"params": ours[:2], "muon": True}, {"params": ours[2:]}]
    one = MuonAdamW(groups, lr=0.02, weight_decay=0.1, betas=(0.9, 0.95))
    two = [
        torch.optim.Muon(theirs[:2], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(theirs[2:], lr=0.02, weight_decay=0.1, betas=(0.9, 0.95)),
    ]
    for _ in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in (one, *two):
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    assert not torch.allclose(ours[0], torch.zeros(6, 10))


@pytest.mark.parametrize("shape", [(8, 20), (20, 8)])
def test_an_orthogonal_matrix_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)).float())
    assert values.min() > 0.6
    assert values.max() < 1.3
