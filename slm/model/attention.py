"""Attention of every decoder layer: packed documents in training, cached steps in generation.

The decoder computes queries, keys and values; `ContextAttend` stands in for its attention, turns
them by their positions and does with them what one explicit `AttentionContext` says. Which kernel
works on packed rows is chosen in `slm/model/packed_attention.py`.
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


class PackedAttention(Protocol):
    """Causal attention within the documents of packed rows."""

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """(B, H, S, D) of queries (B, H, S, D), keys and values (B, H', S, D)."""
        ...


@dataclass(frozen=True)
class AttentionContext:
    """What the tokens of one forward pass may attend to.

    Attributes:
        mask: (B, 1, S, S') bool, True where a query may see a key; None for plain causal.
        cache: Earlier keys and values; None when the pass holds whole documents.
        packed: Attention of packed rows, in place of `mask`.
        turns: `rotations` of the tokens; None leaves queries and keys as they are.
    """

    mask: Tensor | None = None
    cache: KeyValueCache | None = None
    packed: PackedAttention | None = None
    turns: Tensor | None = None


class AttendRecord:
    """Takes what the decoder writes beside an attention's output, and keeps none of it.

    Keeping it would hold every layer's keys and values until the pass ends, which nothing here
    reads.
    """

    layer_type: str | None = None

    def __setattr__(self, name: str, value: object) -> None:
        pass


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
            queries: (B, H, S, D).
            keys: (B, H', S, D), H' a divisor of H; query head i uses key head i % H'.
            values: (B, H', S, D).
            flash_pack_seq_kwargs: The context. The decoder hands this argument on untouched,
                which makes it the one way in that needs no shared state.
            unused: Arguments of attention kinds this model never switches on, all None.

        Returns:
            (B, H, S, D) and the record the decoder fills in.
        """
        context = flash_pack_seq_kwargs or AttentionContext()
        if context.turns is not None:
            queries, keys = rotate(queries, context.turns), rotate(keys, context.turns)
        if context.packed is not None:
            return context.packed(queries, keys, values), AttendRecord()
        if context.cache is not None:
            keys, values = context.cache.update(self.layer, keys, values)
        keys, values = repeated_heads(queries, keys, values)
        mask = context.mask
        # Plain causal only fits when no earlier keys come before the queries.
        causal = mask is None and queries.shape[2] == keys.shape[2]
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=causal
        )
        return attended, AttendRecord()


def rotations(positions: Tensor, frequencies: Tensor) -> Tensor:
    """Cosines and sines of every position's angles.

    Args:
        positions: (B, S) int64.
        frequencies: (D / 2,) radians a position.

    Returns:
        (B, 1, S, D / 2, 2) float32.
    """
    with torch.autocast(positions.device.type, enabled=False):
        angles = positions[:, None, :, None].float() * frequencies.float()
        return torch.stack([angles.cos(), angles.sin()], dim=-1)


def rotate(heads: Tensor, turns: Tensor) -> Tensor:
    """Turn neighbouring pairs of values, (2 i, 2 i + 1), by the angles of their positions.

    Args:
        heads: (B, H, S, D).
        turns: Of `rotations`.

    Returns:
        (B, H, S, D) in the precision of `heads`; the products are float32.
    """
    pairs = heads.float().unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():  # the compiler fuses the real form, and only that
        (x, y), (cos, sin) = pairs.unbind(-1), turns.unbind(-1)
        turned = torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(turns))
    return turned.flatten(-2).type_as(heads)


def repeated_heads(queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values with as many heads as the queries: head i is head i % H' of those given."""
    groups = queries.shape[1] // keys.shape[1]
    if groups == 1:
        return keys, values
    return keys.repeat(1, groups, 1, 1), values.repeat(1, groups, 1, 1)


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
