"""From logits to a token: pure functions over the last dimension, any leading dimensions.

Logits of tokens that are ruled out are -inf; every function leaves at least one token in.
"""

import torch
from torch import Tensor

from .config import GenerationSettings

_NEVER = float("-inf")


def keep_allowed(logits: Tensor, allowed: Tensor) -> Tensor:
    """Rule out what is not allowed.

    Args:
        logits: (..., V).
        allowed: (..., V) bool, broadcastable; at least one True a row.
    """
    return logits.masked_fill(~allowed, _NEVER)


def keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    """Keep the `top_k` >= 1 likeliest tokens of (..., V); ties with the last of them stay too."""
    smallest = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < smallest, _NEVER)


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens of (..., V) with at least `top_p` probability."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(dim=-1)
    # A token goes when those before it already reach top_p; so the first always stays.
    before = probabilities.cumsum(dim=-1) - probabilities
    dropped = torch.zeros_like(before, dtype=torch.bool).scatter(-1, order, before >= top_p)
    return logits.masked_fill(dropped, _NEVER)


def draw(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw a token a row by inverting the cumulative distribution.

    One number a row decides, so a row's draw depends on no other row.

    Args:
        logits: (..., V).
        uniforms: (...), float64 in [0, 1).

    Returns:
        (...) int64; never a token of probability 0.
    """
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    # Scaled by the total, which rounding may leave a little off 1. A flat stretch of the sum is a
    # run of zero probabilities: `right` steps past it.
    target = uniforms[..., None] * cumulative[..., -1:]
    chosen = torch.searchsorted(cumulative, target, right=True)[..., 0]
    last = logits.shape[-1] - 1 - logits.flip(-1).isfinite().int().argmax(dim=-1)
    return torch.minimum(chosen, last)


def choose(logits: Tensor, uniforms: Tensor, settings: GenerationSettings) -> Tensor:
    """Next tokens: argmax at temperature 0, else temperature, top-k, top-p and a draw.

    Args:
        logits: (..., V), ruled-out tokens at -inf.
        uniforms: (...), float64 in [0, 1).
        settings: How to draw.

    Returns:
        (...) int64.
    """
    if settings.temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / settings.temperature
    if settings.top_k:
        logits = keep_top_k(logits, settings.top_k)
    if settings.top_p < 1:
        logits = keep_top_p(logits, settings.top_p)
    return draw(logits, uniforms)
