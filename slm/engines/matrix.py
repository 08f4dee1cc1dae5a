"""Linear maps in the forms that a step reads: plain, rounded, or laid out for oneDNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Whether the processor multiplies matrices of a dtype in oneDNN's own layout.
Capability = Callable[[torch.dtype], bool]


def can_pack(dtype: torch.dtype) -> bool:
    """True if this processor and this build of torch have oneDNN's layout for a dtype.

    torch has the operation on every processor, but in bfloat16 it raises an error on those without
    AVX-512; there a bfloat16 matrix stays in its plain layout, which is slower.
    """
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    if not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # asks the processor
    return dtype == torch.float32


class Matrix(NamedTuple):
    """A linear map in the form a step reads.

    Attributes:
        weight: (N, D) in the step's precision, or int8; laid out for oneDNN when `packed`.
        scale: (N,) for int8, else None.
        bias: (N,) in the step's precision, or None.
        packed: Whether `weight` is in oneDNN's own layout, which reads faster for several rows.
    """

    weight: Tensor
    scale: Tensor | None = None
    bias: Tensor | None = None
    packed: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """(..., D) to (..., N), in x's precision."""
        flat = x.reshape(-1, x.shape[-1])
        if self.scale is not None:
            multiply = torch.ops.aten._weight_int8pack_mm  # fast for bfloat16 inputs alone
            product = multiply(flat.to(self.scale.dtype), self.weight, self.scale).to(x.dtype)
            product = product if self.bias is None else product + self.bias
        elif self.packed:
            flat = flat.to(self.weight.dtype)
            linear = torch.ops.mkldnn._linear_pointwise
            product = linear(flat, self.weight, self.bias, "none", [], "").to(x.dtype)
        else:
            product = F.linear(flat.to(self.weight.dtype), self.weight, self.bias).to(x.dtype)
        return product.view(*x.shape[:-1], -1)


def matrix_of(
    weight: Tensor, bias: Tensor | None, kind: str, packs: Capability = can_pack
) -> Matrix:
    """A `Matrix` of (N, D) and (N,) in one of "exact", "bf16" and "int8"."""
    if kind == "int8":
        # One scale an output row; 1e-12 keeps rows of zeros finite.
        scale = weight.float().abs().amax(dim=1).clamp(min=1e-12) / 127
        rounded = (weight.float() / scale[:, None]).round().to(torch.int8)
        return Matrix(rounded.contiguous(), scale.bfloat16(), bias)
    if kind == "bf16":
        weight, bias = weight.bfloat16(), None if bias is None else bias.bfloat16()
    weight = weight.contiguous()
    if weight.device.type == "cpu" and packs(weight.dtype):
        return Matrix(torch.ops.mkldnn._reorder_linear_weight(weight, None), None, bias, True)
    return Matrix(weight, None, bias)
