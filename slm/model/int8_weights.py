"""Weights in few bytes for shipped models: int8 matrices with a scale a row, float16 otherwise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

SCALE = ".scale"
PRECISIONS = "fp16", "int8"


def compact_weights(model: nn.Module, precision: str) -> dict[str, Tensor]:
    """A model's tensors in few bytes, each by its name; buffers stay as they are.

    Args:
        model: In float32.
        precision: "fp16", or "int8" for matrices: round(127 w / m) for a row whose largest
            magnitude is m, with m / 127 as float16 (rows, 1) under the name and ".scale".

    Raises:
        ValueError: Another precision, or a weight that float16 cannot hold.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"expected a precision of {PRECISIONS}, got {precision!r}")
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    # Parameters only: buffers such as rotary frequencies must stay exact.
    for name, parameter in model.named_parameters(remove_duplicate=False):
        weight = parameter.detach()
        if precision == "int8" and weight.ndim == 2:
            largest = weight.abs().amax(dim=1, keepdim=True)
            # Rounded up where float16 is coarse, so that no entry falls beyond 127.
            scale = _half(name, largest * (1.0 + 2.0**-10) / 127.0).clamp(min=2.0**-24)
            tensors[name] = (weight / scale.float()).round().to(torch.int8)
            tensors[name + SCALE] = scale
        else:
            tensors[name] = _half(name, weight)
    return tensors


def expanded_weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Invert `compact_weights`: int8 matrices as float32 again; others pass as they are."""
    return {
        name: value.float() * tensors[name + SCALE].float() if name + SCALE in tensors else value
        for name, value in tensors.items()
        if not name.endswith(SCALE)
    }


def _half(name: str, weight: Tensor) -> Tensor:
    half = weight.half()
    if not torch.isfinite(half).all():
        raise ValueError(
            f"expected weights of at most 65504 in {name}, got {float(weight.abs().max()):g}"
        )
    return half
