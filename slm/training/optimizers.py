"""Optimizers and learning-rate schedules of the speech LM's training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from slm.model.code_embeddings import code_tables

from .config import TrainingSettings

# Newton-Schulz iteration towards the nearest orthogonal matrix (Jordan et al., "Muon", 2024).
_COEFFICIENTS = (3.4445, -4.775, 2.0315)
_ITERATIONS = 5
_MUON_SCALE = 0.2  # gives Muon's updates the size of AdamW's (Liu et al., arXiv 2502.16982)


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Rate of optimizer step `step` (from 0), a function of the step alone.

    Linear warm-up; then "cosine" falls to the minimum over the rest of the run, and "wsd" stays at
    the peak and falls linearly over the last `decay_fraction` of the run.
    """
    peak, lowest = settings.learning_rate, settings.min_learning_rate
    # From 1 / warmup_steps of the peak: a first step at rate 0 would be lost.
    if step < settings.warmup_steps:
        return peak * (step + 1) / settings.warmup_steps
    if settings.schedule == "wsd":
        decay = max(1, round(settings.decay_fraction * settings.max_steps))
        left = max(0, settings.max_steps - step)
        return lowest + (peak - lowest) * min(1.0, left / decay)
    progress = (step - settings.warmup_steps) / max(1, settings.max_steps - settings.warmup_steps)
    return lowest + (peak - lowest) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def gradient_norm(parameters: Any) -> Tensor:
    """Euclidean norm of all gradients together, float32 scalar, whole where they are sharded."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # type: ignore[union-attr]


def new_optimizer(
    lm: nn.Module, embedding: Tensor, head: Tensor, settings: TrainingSettings
) -> torch.optim.Optimizer:
    """AdamW, or Muon for the matrices between embedding and head and AdamW for the rest.

    Weights decay in matrices only; gains, biases and embeddings are left alone.

    Args:
        lm: The model.
        embedding: Its input embeddings, which do not decay.
        head: Its output matrix, which Muon leaves to AdamW.
        settings: Optimizer, rate, decay and betas.
    """
    hidden, decayed, kept = [], [], []
    own = {id(table.own) for table in code_tables(lm)}  # rows of single codes, as embeddings are
    # Each group keeps the model's order, by which checkpoints number its states.
    for parameter in lm.parameters():
        if parameter.ndim < 2 or parameter is embedding or id(parameter) in own:
            kept.append(parameter)
        elif settings.optimizer == "muon" and parameter.ndim == 2 and parameter is not head:
            hidden.append(parameter)
        else:
            decayed.append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    options: dict[str, Any] = {"lr": settings.learning_rate, "betas": settings.betas}
    if settings.optimizer == "muon":
        muon = {"params": hidden, "weight_decay": settings.weight_decay, "muon": True}
        return MuonAdamW([muon, *groups], **options)
    # Other devices lack the fused kernel.
    fused = embedding.device.type in ("cpu", "cuda") or None
    return torch.optim.AdamW(groups, **options, eps=1e-8, fused=fused)


class MuonAdamW(torch.optim.Optimizer):
    """Muon for the groups that say `muon`, AdamW for the others, with one rate for both.

    Muon's step for a matrix is its momentum made orthogonal, times 0.2 sqrt(max(rows, columns)).

    Args:
        groups: Parameter groups; those with `"muon": True` hold matrices only.
        lr: Learning rate.
        betas: Of AdamW.
        eps: Of AdamW.
        weight_decay: Of groups that name none.
        momentum: Of Muon, Nesterov's.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(groups, {**options, "momentum": momentum, "muon": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Make one step from the present gradients, or from those of `closure`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            (self._muon if group["muon"] else self._adamw)(with_gradient, group)
        return loss

    def _muon(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            assert parameter.grad is not None
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            # Nesterov: the gradient again, on top of the momentum that has it already.
            momentum = state["momentum_buffer"].lerp_(parameter.grad, 1 - group["momentum"])
            update = orthogonal(parameter.grad.lerp(momentum, group["momentum"]))
            scale = _MUON_SCALE * max(parameter.shape) ** 0.5
            # Decoupled weight decay, as in AdamW.
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.to(parameter.dtype), alpha=-group["lr"] * scale)

    def _adamw(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly the nearest matrix with orthonormal rows or columns, bfloat16 (M, N).

    Singular values end between about 0.7 and 1.2, which is enough for Muon.
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.bfloat16()
    # The smaller of the two Gram matrices.
    tall = wide.shape[0] > wide.shape[1]
    wide = wide.T if tall else wide
    wide = wide / wide.norm().clamp(min=1e-7)
    # X <- a X + (b X X^T + c (X X^T)^2) X
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if tall else wide
