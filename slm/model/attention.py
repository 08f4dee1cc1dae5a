"""Attention of every layer: packed documents in training, cached steps in generation.

One explicit `AttentionContext` goes through all layers of a forward pass. Which kernel works on
packed rows is chosen in `slm/model/packed_attention.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import SpeechLMConfig
from .kv_cache import KVCache

# Causal attention within the documents of packed rows: (B, H, S, D) of queries (B, H, S, D), keys
# and values (B, H', S, D).
PackedAttention = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class AttentionContext:
    """Tokens that those of one forward pass may attend to.

    Attributes:
        mask: (B, 1, S, S') bool, True where a query may see a key; None for plain causal.
        cache: Earlier keys and values; None when the pass holds whole documents.
        packed: Attention of packed rows, in place of `mask`.
        rotations: Of `RotaryPositions`; None leaves queries and keys as they are.
    """

    mask: Tensor | None = None
    cache: KVCache | None = None
    packed: PackedAttention | None = None
    rotations: Tensor | None = None


class Attention(nn.Module):
    """Multi-head attention, with as many or fewer key and value heads than query heads.

    Args:
        config: Sizes.
        layer: Index of the layer, which is its place in the cache.
        query_norm: Norm of the queries (B, H, S, D); None for none.
        key_norm: Norm of the keys (B, H', S, D), with `query_norm`.
    """

    def __init__(
        self,
        config: SpeechLMConfig,
        layer: int,
        query_norm: nn.Module | None = None,
        key_norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.layer, self.dim_head = layer, config.dim_head
        width, kv_width = (n * config.dim_head for n in (config.num_heads, config.kv_heads))
        self.to_q = nn.Linear(config.dim, width, bias=False)
        self.to_k = nn.Linear(config.dim, kv_width, bias=False)
        self.to_v = nn.Linear(config.dim, kv_width, bias=False)
        # Optimizer states count parameters in this order: norms come before the output.
        self.q_rmsnorm, self.k_rmsnorm = query_norm, key_norm
        self.to_out = nn.Linear(width, config.dim, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, context: AttentionContext) -> Tensor:
        """(B, S, D) of (B, S, D)."""
        queries, keys, values = (
            project(x).unflatten(-1, (-1, self.dim_head)).transpose(1, 2)  # (B, H, S, D)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        if self.q_rmsnorm is not None and self.k_rmsnorm is not None:
            queries, keys = self.q_rmsnorm(queries), self.k_rmsnorm(keys)
        if context.rotations is not None:
            queries, keys = rotate(queries, context.rotations), rotate(keys, context.rotations)
        # Rotated keys go into the cache, so that no step turns earlier ones again.
        attended = self._attend(queries, keys, values, context)
        joined = attended.transpose(1, 2).flatten(2)  # (B, S, H D)
        return self.dropout(self.to_out(joined))

    def _attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, context: AttentionContext
    ) -> Tensor:
        """Scaled dot-product attention, (B, H, S, D)."""
        if context.packed is not None:
            return context.packed(queries, keys, values)
        if context.cache is not None:
            keys, values = context.cache.update(self.layer, keys, values)
        keys, values = repeated_heads(queries, keys, values)
        # Plain causal only fits when no earlier keys come before the queries.
        causal = context.mask is None and queries.shape[2] == keys.shape[2]
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=context.mask, is_causal=causal
        )


class RotaryPositions(nn.Module):
    """Rotary position embedding: cosines and sines of every position's angles.

    Args:
        config: Width of a head, base and scaling.
    """

    inv_freq: Tensor

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__()
        self.register_buffer("inv_freq", rotary_frequencies(config))

    def forward(self, positions: Tensor) -> Tensor:
        """(B, 1, S, D / 2, 2) float32, cosine and sine, of positions (B, S) int64."""
        with torch.autocast(positions.device.type, enabled=False):
            angles = positions[:, None, :, None].float() * self.inv_freq.float()
            return torch.stack([angles.cos(), angles.sin()], dim=-1)


def rotary_frequencies(config: SpeechLMConfig) -> Tensor:
    """Radians a position of each pair of a head, float32 (D / 2,).

    With `rotary_scaling` slow pairs are slowed by `factor` and fast ones left alone, with a linear
    transition between, as Llama 3.1 defines it.
    """
    exponents = torch.arange(0, config.dim_head, 2).float() / config.dim_head
    frequencies = 1.0 / config.rotary_theta**exponents
    scaling = config.rotary_scaling
    if not scaling:
        return frequencies
    length = float(scaling["original_max_position_embeddings"])
    low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
    turns = length * frequencies / (2 * math.pi)  # of each pair over the original context
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / float(scaling["factor"]))


def rotate(heads: Tensor, rotations: Tensor) -> Tensor:
    """Turn neighbouring pairs of values, (2 i, 2 i + 1), by the angles of their positions.

    (B, H, S, D) in the precision of `heads`; the products are float32.
    """
    # (x + i y) (cos + i sin), pair by pair
    pairs = heads.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # the compiler fuses the real form, and only that
        (x, y), (cos, sin) = pairs.unbind(-1), rotations.unbind(-1)
        turned = torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
    else:
        complex_pairs = torch.view_as_complex(pairs) * torch.view_as_complex(rotations)
        turned = torch.view_as_real(complex_pairs)
    return turned.flatten(-2).type_as(heads)


def repeated_heads(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values with as many heads as the queries: head i is head i % H' of those given."""
    groups = queries.shape[1] // keys.shape[1]
    if groups == 1:
        return keys, values
    return keys.repeat(1, groups, 1, 1), values.repeat(1, groups, 1, 1)


def packed_mask(document_ids: Tensor) -> Tensor:
    """Block-diagonal causal mask of packed rows, from (B, S) ids that documents share.

    (B, 1, S, S) bool, True where key and query share a document and the key is not later.
    """
    same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return same & torch.ones_like(same[0, 0]).tril()


def cached_mask(positions: Tensor, num_keys: int) -> Tensor:
    """Causal mask of new tokens at positions (B, S) over a cache of S' slots, one a position.

    (B, 1, S, S') bool. Slots past a row's own length hold leftovers, and are masked.
    """
    slots = torch.arange(num_keys, device=positions.device)
    return slots[None, None, None, :] <= positions[:, None, :, None]
