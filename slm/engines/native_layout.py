"""What `native_decoder.cpp` reads: packed matrices, layers and caches, and a step's arguments.

The structures are those of the code, field by field. They hold addresses: whoever makes one keeps
the tensors alive.
"""

import ctypes
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .merged_weights import MergedLayer

LANES = 16  # floats of the longest vector
_STRIP = 2 * LANES  # output rows that lie side by side
_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}


class MatrixStruct(ctypes.Structure):
    """`Matrix` of the code."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "bias")),
        *((name, ctypes.c_int64) for name in ("rows", "width", "kind")),
    )


class LayerStruct(ctypes.Structure):
    """`Layer` of the code."""

    _fields_ = (
        *((name, MatrixStruct) for name in ("qkv", "out", "up_gate", "down")),
        *((name, ctypes.c_void_p) for name in ("qk_gain", "keys", "values")),
    )


_SIZES = ("num_layers", "dim", "heads", "kv_heads", "dim_head", "hidden", "slots")


class ModelStruct(ctypes.Structure):
    """`Model` of the code."""

    _fields_ = (
        ("layers", ctypes.POINTER(LayerStruct)),
        ("turns", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in _SIZES),
        ("eps", ctypes.c_float),
    )


class StepStruct(ctypes.Structure):
    """`Step` of the code."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("positions", "places", "x", "scratch")),
        *((name, ctypes.c_int64) for name in ("rows", "threads")),
    )


class Strips(NamedTuple):
    """A linear map as the code reads it.

    Attributes:
        weight: (N / 32, D, 32) float32, bfloat16 or int8; rows filled up with zeros to 32.
        scale: (N,) float32 of int8, else None.
        bias: (N,) float32 or None.
        rows: N.
    """

    weight: Tensor
    scale: Tensor | None
    bias: Tensor | None
    rows: int

    def struct(self) -> MatrixStruct:
        """Their addresses and sizes."""
        tensors = (self.weight, self.scale, self.bias)
        addresses = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
        return MatrixStruct(*addresses, self.rows, self.weight.shape[1], _KINDS[self.weight.dtype])


class PackedLayer(NamedTuple):
    """A decoder layer; `qk_gain` as in `slm.engines.merged_weights.MergedLayer`."""

    qkv: Strips
    out: Strips
    up_gate: Strips
    down: Strips
    qk_gain: Tensor | None

    def struct(self, keys: Tensor, values: Tensor) -> LayerStruct:
        """Their addresses, and those of the layer's cache."""
        gain = None if self.qk_gain is None else self.qk_gain.data_ptr()
        matrices = (each.struct() for each in (self.qkv, self.out, self.up_gate, self.down))
        return LayerStruct(*matrices, gain, keys.data_ptr(), values.data_ptr())


def packed_layer(layer: MergedLayer, kind: str) -> PackedLayer:
    """A layer's weights in one of "exact", "bf16" and "int8"."""
    gain = None if layer.qk_gain is None else layer.qk_gain.float().contiguous()
    return PackedLayer(
        strips_of(layer.qkv, None, kind),
        strips_of(layer.out, None, kind),
        strips_of(_alternating(layer.up_gate), _alternating(layer.up_gate_bias), kind),
        strips_of(layer.down, None, kind),
        gain,
    )


def strips_of(weight: Tensor, bias: Tensor | None, kind: str) -> Strips:
    """`Strips` of (N, D) and (N,) in one of "exact", "bf16" and "int8"."""
    rows, scale = len(weight), None
    if kind == "int8":
        scale = weight.float().abs().amax(dim=1).clamp(min=1e-12) / 127
        weight = (weight / scale[:, None]).round().to(torch.int8)
    elif kind == "bf16":
        weight = weight.bfloat16()
    padded = F.pad(weight, (0, 0, 0, -rows % _STRIP))
    packed = padded.unflatten(0, (-1, _STRIP)).transpose(1, 2).contiguous()
    return Strips(packed, scale, None if bias is None else bias.float().contiguous(), rows)


def _alternating(up_gate: Tensor) -> Tensor:
    """16 rows of the values, the 16 of their gates, and so on: (2 F, ...) reordered."""
    halves = up_gate.unflatten(0, (2, -1, LANES))
    return halves.transpose(0, 1).flatten(0, 2)
