"""Attention of packed rows: four kernels, one result.

    documents   one causal product a document; the least work there is, shapes follow the data
    mask        one product a row under a block-diagonal mask; fixed shapes, any device
    varlen      the fused kernel for documents of unequal length (CUDA, 16-bit precision)
    flex        PyTorch's compiled block-sparse kernel; fixed shapes (CUDA; no training on the CPU)

Each gives the logits of every document alone, up to float rounding. `varlen` and `flex` have not
been run on CUDA here: the packing itself is tested on the CPU, the fused kernels are not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import PackedAttention, packed_mask, repeated_heads

KERNELS = ("auto", "documents", "mask", "varlen", "flex")
_SHORTEST_MEAN = 32  # mean tokens a document that `varlen` is laid out for before it grows


def packed_attention(
    document_ids: Tensor, kernel: str = "auto", *, fixed_shapes: bool = False
) -> PackedAttention:
    """Attention of one batch of packed rows, for every layer.

    Args:
        document_ids: (B, S) int64; equal neighbours belong to one document.
        kernel: One of `KERNELS`; "auto" is "varlen" on CUDA in 16-bit precision, "documents" on
            the CPU, "mask" elsewhere.
        fixed_shapes: Let "auto" choose none whose shapes follow the documents.

    Raises:
        ValueError: No kernel of that name, or this PyTorch lacks it.
    """
    if kernel not in KERNELS:
        raise ValueError(f"expected an attention kernel of {KERNELS}, got {kernel!r}")
    if kernel == "auto":
        kernel = _best_kernel(document_ids, fixed_shapes)
    if kernel == "documents":
        return partial(_by_document, document_lengths(document_ids))
    if kernel == "varlen":
        starts = document_starts(document_ids)
        return partial(_varlen, varlen_kernel(), starts, document_ids.shape[1])
    if kernel == "flex":
        return partial(_flex, _block_mask(document_ids))
    return partial(_masked, packed_mask(document_ids))


def document_lengths(document_ids: Tensor) -> list[list[int]]:
    """Tokens of each document of each row, padding counted as one; reads the tensor."""
    lengths = []
    for row in document_ids.cpu():
        ends = (row[1:] != row[:-1]).nonzero()[:, 0] + 1
        edges = [0, *ends.tolist(), len(row)]
        lengths.append([stop - start for start, stop in pairwise(edges)])
    return lengths


def document_starts(document_ids: Tensor) -> Tensor:
    """Offset of each document in the rows laid end to end, then their total length, (K + 1,) int32.

    K is the same for every batch of a size, unless its documents are so short that it must double:
    the rest is filled with documents of no tokens.
    """
    total = document_ids.numel()
    # True at a document's first token; rows start one, too.
    first = torch.ones_like(document_ids, dtype=torch.bool)
    first[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    offsets = first.flatten().nonzero()[:, 0]
    room = len(document_ids) + -(-total // _SHORTEST_MEAN)
    while room < len(offsets):
        room *= 2
    return F.pad(offsets, (0, room + 1 - len(offsets)), value=total).int()


def grouped_heads(queries: Tensor, num_kv_heads: int) -> Tensor:
    """Query heads (B, H, S, D) in the order that kernels with grouped heads expect.

    Ours pairs query head i with key head i % H'; theirs with key head i // (H / H').
    """
    by_key = queries.unflatten(1, (-1, num_kv_heads)).transpose(1, 2)  # (B, H', H / H', S, D)
    return by_key.flatten(1, 2)


def ungrouped_heads(heads: Tensor, num_kv_heads: int) -> Tensor:
    """The inverse of `grouped_heads`."""
    return heads.unflatten(1, (num_kv_heads, -1)).transpose(1, 2).flatten(1, 2)


def varlen_kernel() -> Callable[..., Any]:
    """PyTorch's kernel for documents of unequal length.

    Raises:
        ValueError: This PyTorch has none.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError as error:
        raise ValueError(
            f"expected a PyTorch with torch.nn.attention.varlen (2.10 or later), got "
            f"{torch.__version__}; use the attention kernel 'mask'"
        ) from error
    return varlen_attn


def _best_kernel(document_ids: Tensor, fixed_shapes: bool) -> str:
    if not document_ids.is_cuda:
        return "mask" if fixed_shapes else "documents"
    # The fused kernel takes 16-bit inputs only.
    half = torch.is_autocast_enabled("cuda")
    try:
        varlen_kernel()
    except ValueError:
        return "mask"
    return "varlen" if half else "mask"


def _by_document(lengths: list[list[int]], queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    keys, values = repeated_heads(queries, keys, values)
    # `split` and `unbind` gather their gradients at once; slices would add whole tensors up.
    rows = []
    for sizes, *heads in zip(
        lengths, queries.unbind(), keys.unbind(), values.unbind(), strict=True
    ):
        # One product a document, (1, H, S of the document, D).
        parts = zip(*(tensor[None].split(sizes, dim=2) for tensor in heads), strict=True)
        attended = [F.scaled_dot_product_attention(*part, is_causal=True) for part in parts]
        rows.append(torch.cat(attended, dim=2))
    return torch.cat(rows)


def _masked(mask: Tensor, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    keys, values = repeated_heads(queries, keys, values)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


# A norm of queries and keys gives float32 under autocast, values are of 16 bits: the fused kernels
# want one type, as `scaled_dot_product_attention` makes it by itself.


def _varlen(
    kernel: Callable[..., Any],
    starts: Tensor,
    longest: int,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
) -> Tensor:
    kv_heads, batch = keys.shape[1], len(queries)
    queries, keys = queries.type_as(values), keys.type_as(values)
    grouped = (grouped_heads(queries, kv_heads), keys, values)
    flat = [heads.transpose(1, 2).flatten(0, 1) for heads in grouped]  # (B S, H, D)
    options: dict[str, Any] = {"enable_gqa": queries.shape[1] != kv_heads}
    options["window_size"] = (-1, 0)  # everything before, nothing after
    attended = kernel(*flat, starts, starts, longest, longest, **options)
    attended = attended.unflatten(0, (batch, -1)).transpose(1, 2)  # (B, H, S, D)
    return ungrouped_heads(attended, kv_heads)


def _block_mask(document_ids: Tensor) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def visible(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = document_ids[batch, query] == document_ids[batch, key]
        return same & (key <= query)

    batch, length = document_ids.shape
    device = document_ids.device.type
    return create_block_mask(visible, batch, None, length, length, device=device)


def _flex(block_mask: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    kv_heads = keys.shape[1]
    queries, keys = queries.type_as(values), keys.type_as(values)
    attended = flex_attention(
        grouped_heads(queries, kv_heads),
        keys,
        values,
        block_mask=block_mask,
        enable_gqa=queries.shape[1] != kv_heads,
    )
    return ungrouped_heads(cast(Tensor, attended), kv_heads)
