"""Memory layout of `native_decoder.cpp`: packed matrices, layers, caches and a step's arguments.

The structures are those of the code, field by field. They hold addresses: whoever makes one keeps
the tensors alive.
"""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .merged_weights import MergedLayer

BLOCK = 16  # keys, or rows of values and of their gates, side by side: the longest vector
_STRIP = 2 * BLOCK  # output rows that lie side by side
_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}


class MatrixStruct(ctypes.Structure):
    """`Matrix` of the code."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("kind", ctypes.c_int64),
    )


class LayerStruct(ctypes.Structure):
    """`Layer` of the code."""

    _fields_ = (
        ("qkv", MatrixStruct),
        ("out", MatrixStruct),
        ("up_gate", MatrixStruct),
        ("down", MatrixStruct),
        ("qk_gain", ctypes.c_void_p),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
    )


class ModelStruct(ctypes.Structure):
    """`Model` of the code."""

    _fields_ = (
        ("layers", ctypes.POINTER(LayerStruct)),
        ("rotations", ctypes.c_void_p),
        ("num_layers", ctypes.c_int64),
        ("dim", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("kv_heads", ctypes.c_int64),
        ("dim_head", ctypes.c_int64),
        ("hidden", ctypes.c_int64),
        ("positions", ctypes.c_int64),
        ("eps", ctypes.c_float),
    )


class StepStruct(ctypes.Structure):
    """`Step` of the code."""

    _fields_ = (
        ("positions", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("x", ctypes.c_void_p),
        ("scratch", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("threads", ctypes.c_int64),
    )


class Strips(NamedTuple):
    """A linear map in strips of 32 output rows, the form the code reads.

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
    packed = padded.unflatten(0, (-1, _STRIP)).transpose(1, 2).contiguous()  # (N / 32, D, 32)
    return Strips(packed, scale, None if bias is None else bias.float().contiguous(), rows)


def _alternating(up_gate: Tensor) -> Tensor:
    """Reorder (2 F, ...) to 16 rows of the values, the 16 of their gates, and so on."""
    halves = up_gate.unflatten(0, (2, -1, BLOCK))
    return halves.transpose(0, 1).flatten(0, 2)
