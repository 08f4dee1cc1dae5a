"""Cross-entropy over a large vocabulary, a chunk of tokens at a time, always summed in float32.

N tokens by V vocabulary entries never exist at once: only C by V do, C the chunk. With N = 65,536
and V = 9,000, float32 logits and their gradient would take 4.7 GB; chunks of 4,096 take 0.3 GB
whatever N is.

Training uses `mean_nll`: the gradients of the hidden states (N, D) and of the head (V, D) are made
in the forward pass, from logits that are at hand, so that the head costs three products and not
four. `token_nll` keeps one loss a token and makes its logits again in the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 4096  # tokens whose logits are held at once


def token_nll(hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int = CHUNK) -> Tensor:
    """Negative log-likelihood of each target, (N,) float32, nats.

    Args:
        hidden: (N, D), any float precision; products run in autocast's precision where it is on.
        weight: (V, D) of the head.
        targets: (N,) int64 in [0, V).
        chunk: Tokens whose logits are held at once.
    """
    nll = _TokenNLL.apply(hidden, weight, targets, chunk)
    assert isinstance(nll, Tensor)
    return nll


def mean_nll(
    hidden: Tensor, weight: Tensor, targets: Tensor, scales: Tensor, chunk: int = CHUNK
) -> Tensor:
    """Sum over tokens of scale times negative log-likelihood, scalar float32, nats.

    Arguments are as in `token_nll`, and `scales` (N,) float32: weights over their sum make a
    weighted mean. It can be differentiated once.
    """
    if not torch.is_grad_enabled() or not (hidden.requires_grad or weight.requires_grad):
        return (token_nll(hidden, weight, targets, chunk) * scales).sum()
    loss = _MeanNLL.apply(hidden, weight, targets, scales, chunk)
    assert isinstance(loss, Tensor)
    return loss


class _TokenNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> Tensor:
        dtype = _product_dtype(hidden)
        nll = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        rounded = weight.to(dtype)  # once, and not for every chunk
        for part in _parts(len(targets), chunk):
            logits = _logits(hidden[part], rounded)
            nll[part] = F.cross_entropy(logits, targets[part], reduction="none")
        # No logits: they are made again.
        ctx.save_for_backward(hidden, weight, targets)
        ctx.chunk, ctx.dtype = chunk, dtype
        return nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        hidden, weight, targets = ctx.saved_tensors
        rounded = weight.to(ctx.dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        for part in _parts(len(targets), ctx.chunk):
            probabilities = _logits(hidden[part], rounded).softmax(1)
            grads_of_part = grad_hidden[part], grad_weight
            inputs = hidden[part], rounded
            _add_gradients(probabilities, targets[part], grads[0][part], inputs, grads_of_part)
        return grad_hidden, grad_weight.to(weight.dtype), None, None


class _MeanNLL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, scales: Tensor, chunk: int
    ) -> Tensor:
        dtype = _product_dtype(hidden)
        rounded = weight.to(dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for part in _parts(len(targets), chunk):
            log_probabilities = _logits(hidden[part], rounded).log_softmax(1)
            chosen = log_probabilities.gather(1, targets[part, None])[:, 0]
            total -= (chosen * scales[part]).sum()
            # In place: these are the largest tensors there are.
            probabilities = log_probabilities.exp_()
            grads_of_part = grad_hidden[part], grad_weight
            inputs = hidden[part], rounded
            _add_gradients(probabilities, targets[part], scales[part], inputs, grads_of_part)
        ctx.save_for_backward(grad_hidden, grad_weight.to(weight.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        grad = grads[0]  # scalar
        scaled = [each * grad.to(each) for each in (grad_hidden, grad_weight)]
        return scaled[0], scaled[1], None, None, None


def _parts(count: int, chunk: int) -> Iterator[slice]:
    return (slice(start, start + chunk) for start in range(0, count, chunk))


def _product_dtype(hidden: Tensor) -> torch.dtype:
    """Precision of the matrix products: autocast's where it is on, else the hidden states'."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _logits(hidden: Tensor, weight: Tensor) -> Tensor:
    """(C, V) float32."""
    with torch.autocast(hidden.device.type, enabled=False):
        return F.linear(hidden.to(weight.dtype), weight).float()


def _add_gradients(
    probabilities: Tensor,
    targets: Tensor,
    scales: Tensor,
    inputs: tuple[Tensor, Tensor],
    gradients: tuple[Tensor, Tensor],
) -> None:
    """Write the gradient of a chunk's hidden states, add the head's; overwrites probabilities."""
    hidden, weight = inputs
    grad_hidden, grad_weight = gradients
    rows = torch.arange(len(targets), device=targets.device)
    # d nll / d logits = softmax - one-hot
    probabilities[rows, targets] -= 1
    probabilities *= scales[:, None]
    grad_logits = probabilities.to(weight.dtype)
    with torch.autocast(hidden.device.type, enabled=False):
        grad_hidden.copy_(grad_logits @ weight)
        if weight.dtype == grad_weight.dtype:
            grad_weight.addmm_(grad_logits.T, hidden.to(weight.dtype))
        else:
            grad_weight += grad_logits.T @ hidden.to(weight.dtype)
