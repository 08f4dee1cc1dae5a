"""Steps of one row through compiled code: compiled once, and never again.

`torch.compile` fuses a layer's products with what lies between them. A layer is compiled, not the
whole step: all layers share the code, so that waiting for the compiler does not grow with depth.
Cache length and the keys attended to are sizes the code leaves open; everything is compiled before
the first step, and no prompt, length or position compiles anything again. Steps of several rows
are the parent's: compiled, they took longer, for their time goes into products that gain nothing.
"""

import inspect
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import rotate
from .decoding import FusedDecoder, RowCache
from .merging import merged_head, merged_layers, unit
from .model import SpeechLM

_STRIP = 16  # output rows side by side: the floats of one AVX-512 register
_KEYS = 32  # keys attended to are a multiple of this
_EXAMPLE_KEYS, _EXAMPLE_SLOTS = 96, 192


class Strips(NamedTuple):
    """A linear map of one row, laid out in the order in which a vector unit reads it.

    Attributes:
        weight: (N / 16, D, 16) in the step's precision, bfloat16 or int8; rows filled up to 16.
        scale: (N,) float32 for int8, else None.
        bias: (N,) float32 or None.
        num_rows: N.
    """

    weight: Tensor
    scale: Tensor | None
    bias: Tensor | None
    num_rows: int


class RowLayer(NamedTuple):
    """A decoder layer for one row; `qk_gain` as in `slm.merging.MergedLayer`."""

    qkv: Strips
    out: Strips
    up_gate: Strips
    down: Strips
    qk_gain: Tensor | None


class CompiledDecoder(FusedDecoder):
    """`FusedDecoder` with compiled steps of one row; all else is done by the parent's code.

    Args:
        lm: The model; its weights are copied once more than by the parent.
        weights: As for the parent.
        backend: Of `torch.compile`.

    Raises:
        ValueError: The model's blocks are not the ones known here (see `slm.merging.fits`).
    """

    def __init__(self, lm: SpeechLM, weights: str = "exact", backend: Any = "inductor") -> None:
        super().__init__(lm, weights)
        self._backend = backend
        self._row_layers = [
            RowLayer(
                strips_of(layer.qkv, None, weights),
                strips_of(layer.out, None, weights),
                strips_of(layer.up_gate, layer.up_gate_bias, weights),
                strips_of(layer.down, None, weights),
                layer.qk_gain,
            )
            for layer in merged_layers(lm)
        ]
        self._row_head = strips_of(merged_head(lm), None, weights)
        layer_step, finish = _one_row(self)
        self._layer_step, self._finish = self._compile(layer_step), self._compile(finish)
        self._is_warm = False

    def new_cache(self, batch_size: int, max_len: int) -> RowCache:
        """An empty cache for `batch_size` rows of up to `max_len` tokens, with room to round up."""
        return super().new_cache(batch_size, -(-max_len // _KEYS) * _KEYS + _KEYS)

    @torch.no_grad()
    def warm_up(self) -> None:
        """Compile, unless that has been done."""
        if self._is_warm:
            return
        cache = super().new_cache(1, _EXAMPLE_SLOTS)
        token = torch.zeros(1, dtype=torch.int64, device=self._embedding.device)
        self._step_one(token, _EXAMPLE_KEYS - 2, cache, fresh=True)
        self._is_warm = True

    @torch.no_grad()
    def step(self, tokens: Tensor, places: Sequence[int], cache: RowCache) -> Tensor:
        """As the parent's, whose results these are up to rounding."""
        if len(tokens) > 1:
            return super().step(tokens, places, cache)
        self.warm_up()
        return self._step_one(tokens, places[0], cache)

    def _step_one(self, token: Tensor, place: int, cache: RowCache, fresh: bool = False) -> Tensor:
        position = torch.tensor([place], device=token.device)
        slots = torch.arange((place // _KEYS + 1) * _KEYS, device=token.device)
        mask = self._additive((slots <= position)[None, None, None])
        if fresh:
            _leave_open(mask, 3)
        turns = self._turns[position][:, None]
        x = F.embedding(token, self._embedding)
        for layer, held in zip(self._row_layers, cache.layers, strict=True):
            slots_held = held[0]
            if fresh:
                _leave_open(slots_held, 1)
            x = self._layer_step(x, turns, mask, position, slots_held, layer)
        return self._finish(x, self._row_head)

    def _compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"fullgraph": True, "backend": self._backend}
        if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
            options["isolate_recompiles"] = True  # other models do not count against a limit
        return torch.compile(function, **options)


def strips_of(weight: Tensor, bias: Tensor | None, kind: str) -> Strips:
    """`Strips` of (N, D) and (N,) in one of "exact", "bf16" and "int8"."""
    num_rows, scale = len(weight), None
    if kind == "int8":
        scale = weight.float().abs().amax(dim=1).clamp(min=1e-12) / 127
        weight = (weight.float() / scale[:, None]).round().to(torch.int8)
    elif kind == "bf16":
        weight = weight.bfloat16()
    missing = -num_rows % _STRIP
    if missing:
        weight = torch.cat([weight, weight.new_zeros(missing, weight.shape[1])])
    strips = weight.unflatten(0, (-1, _STRIP)).transpose(1, 2).contiguous()
    return Strips(strips, scale, None if bias is None else bias.float(), num_rows)


def can_compile(device: torch.device) -> bool:
    """Whether this machine has what `torch.compile` needs to make code for a device."""
    if device.type != "cpu":
        from torch.utils._triton import has_triton

        return has_triton()
    names = [os.environ.get("CXX"), "g++", "clang++", "cl"]
    return any(name is not None and shutil.which(name) for name in names)


def _leave_open(tensor: Tensor, dim: int) -> None:
    """Have a dimension compiled for every size."""
    torch._dynamo.mark_dynamic(tensor, dim)


def _product(strips: Strips, x: Tensor) -> Tensor:
    """(D,) to (N,), float32."""
    total = (strips.weight.float() * x.float()[:, None]).sum(dim=1).flatten()[: strips.num_rows]
    if strips.scale is not None:
        total = total * strips.scale
    return total if strips.bias is None else total + strips.bias


def _attention(decoder: FusedDecoder) -> Callable[..., Tensor]:
    """What lies between the products of attention, for (B, N) `qkv`."""
    config = decoder.config
    heads, kv_heads, groups = config.num_heads, config.kv_heads, config.num_heads // config.kv_heads

    def attend(
        qkv: Tensor,
        turns: Tensor,
        mask: Tensor,
        positions: Tensor,
        held: Tensor,
        qk_gain: Tensor | None,
    ) -> Tensor:
        turned, values = qkv.unflatten(-1, (-1, config.dim_head)).split(
            [heads + kv_heads, kv_heads], dim=1
        )
        if qk_gain is not None:
            turned = unit(turned, config.norm_eps) * qk_gain
        queries, keys = rotate(turned, turns).to(held.dtype).split([heads, kv_heads], dim=1)
        rows = torch.arange(qkv.shape[0], device=qkv.device)
        # One write: two would make the compiler copy the whole cache in between.
        held[rows, :, positions] = torch.stack([keys, values.to(held.dtype)], dim=1)
        seen = held[:, :, : mask.shape[-1]].transpose(2, 3)
        attended = F.scaled_dot_product_attention(
            queries.unflatten(1, (kv_heads, groups)), seen[:, 0], seen[:, 1], attn_mask=mask
        )
        return attended.flatten(1)

    return attend


def _one_row(decoder: FusedDecoder) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    attend, eps = _attention(decoder), decoder.config.norm_eps

    def layer_step(
        x: Tensor,
        turns: Tensor,
        mask: Tensor,
        positions: Tensor,
        held: Tensor,
        layer: RowLayer,
    ) -> Tensor:
        """A layer of one row: (1, dim) in and out, `held` (2, L, H', D)."""
        qkv = _product(layer.qkv, unit(x[0], eps))
        attended = attend(qkv[None], turns, mask, positions, held[None], layer.qk_gain)
        x = x + _product(layer.out, attended[0])
        up, gate = _product(layer.up_gate, unit(x[0], eps)).chunk(2)
        return (x + _product(layer.down, up * F.silu(gate))).type_as(held)

    def finish(x: Tensor, head: Strips) -> Tensor:
        return _product(head, unit(x[0], eps))[None]

    return layer_step, finish


def needed_compiler(device: torch.device) -> str:
    """What `can_compile` looks for."""
    return "a C++ compiler (g++, or what CXX names)" if device.type == "cpu" else "Triton"
