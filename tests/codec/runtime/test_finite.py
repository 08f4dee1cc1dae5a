from __future__ import annotations

import torch

from codec.runtime.finite import first_not_finite, optimizer_tensors


def test_the_first_tensor_that_is_not_finite_is_named() -> None:
    good, bad = torch.ones(2), torch.tensor([1.0, float("inf")])
    values = [("steps", 3), ("ids", torch.tensor([1])), ("a", good), ("b", bad), ("c", bad)]
    assert first_not_finite(values) == "b"
    assert first_not_finite(values[:3]) is None
    assert first_not_finite([]) is None


def test_moments_of_an_optimizer_are_looked_at() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([weight], lr=0.0)
    weight.grad = torch.full((2,), 1e30)  # its square is infinite in float32
    optimizer.step()
    assert "exp_avg_sq" in str(first_not_finite(optimizer_tensors([optimizer])))
