"""Attention of every decoder layer: packed documents in training, cached steps in generation.

The decoder computes rotated queries, keys and values; `ContextAttend` stands in for its attention
and does with them what one explicit `AttentionContext` says.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KeyValueCache(Protocol):
    """What attention needs of a cache of earlier keys and values."""

    def update(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values (B, H, S, D) of a layer; return all held, (B, H, S', D)."""
        ...


@dataclass(frozen=True)
class AttentionContext:
    """What the tokens of one forward pass may attend to.

    Attributes:
        mask: (B, 1, S, S') bool, True where a query may see a key; None for plain causal.
        cache: Earlier keys and values; None when the pass holds whole documents.
    """

    mask: Tensor | None = None
    cache: KeyValueCache | None = None


@dataclass
class AttendRecord:
    """The fields the decoder writes beside an attention's output."""

    values: Tensor | None = None
    cached_kv: tuple[Tensor, Tensor] | None = None
    layer_type: str | None = None


class ContextAttend(nn.Module):
    """Scaled dot-product attention under an `AttentionContext`, one instance a layer.

    Args:
        layer: Index of the attention layer, names its place in the cache.
    """

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        *,
        flash_pack_seq_kwargs: AttentionContext | None = None,
        **unused: Any,
    ) -> tuple[Tensor, AttendRecord]:
        """Attend.

        Args:
            queries: (B, H, S, D), rotated.
            keys: (B, H', S, D), rotated, H' a divisor of H; query head i uses key head i % H'.
            values: (B, H', S, D).
            flash_pack_seq_kwargs: The context. The decoder hands this argument on untouched,
                which makes it the one way in that needs no shared state.
            unused: Arguments of attention kinds this model never switches on, all None.

        Returns:
            (B, H, S, D) and the record the decoder fills in.
        """
        context = flash_pack_seq_kwargs or AttentionContext()
        if context.cache is not None:
            keys, values = context.cache.update(self.layer, keys, values)
        groups = queries.shape[1] // keys.shape[1]
        if groups > 1:
            keys, values = keys.repeat(1, groups, 1, 1), values.repeat(1, groups, 1, 1)
        mask = context.mask
        # Plain causal only fits when no earlier keys come before the queries.
        causal = mask is None and queries.shape[2] == keys.shape[2]
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=causal
        )
        return attended, AttendRecord()


def packed_mask(document_ids: Tensor) -> Tensor:
    """Block-diagonal causal mask of packed rows.

    Args:
        document_ids: (B, S) int64; equal neighbours belong to one document.

    Returns:
        (B, 1, S, S) bool, True where key and query share a document and the key is not later.
    """
    same = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return same & torch.ones_like(same[0, 0]).tril()


def cached_mask(positions: Tensor, num_keys: int) -> Tensor:
    """Causal mask of new tokens over a cache whose slot j holds position j of its row.

    Args:
        positions: (B, S) int64, position of each new token in its row.
        num_keys: S', slots attended to.

    Returns:
        (B, 1, S, S') bool. Slots past a row's own length hold leftovers, and are never seen.
    """
    slots = torch.arange(num_keys, device=positions.device)
    return slots[None, None, None, :] <= positions[:, None, :, None]
