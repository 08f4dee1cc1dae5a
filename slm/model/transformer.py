"""Transformer decoder: pre-norm layers of attention and feed-forward, with x-transformers' parts.

Norms and feed-forward are x-transformers'. Attention and the loop over the layers are ours: packed
rows, a cache whose rows differ in length, rotary angles made once for all layers and activation
checkpointing have no place in its `Decoder`. Parameters keep the names they have there, so stored
weights load in either, and a test holds the outputs of both against each other.

This is the only file that knows x-transformers. Particular about it:
- it imports einx, which takes longer to load than torch, for functions that nothing here calls;
- stored gains of its norms are what is added to 1;
- its norms have no epsilon, which imported text models need (`EpsilonNorm`);
- it rounds the feed-forward's width down, hence the half in `_ff_mult`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from codec.import_shims import without_einx

from .attention import Attention, AttentionContext, RotaryPositions
from .config import SpeechLMConfig

with without_einx():
    from x_transformers.x_transformers import Decoder, FeedForward, MultiheadRMSNorm, RMSNorm

# Added to the gains of every norm of a `Transformer` and of a `Decoder`.
GAIN_OFFSET = 1.0


class EpsilonNorm(nn.Module):
    """Root-mean-square norm with the epsilon inside the root, over the last dimension.

    Args:
        shape: Of the gain `g`, (D,) or (H, 1, D), which is applied as `g` + `GAIN_OFFSET`.
        eps: Added to the mean square.
    """

    eps: Tensor

    def __init__(self, *shape: int, eps: float) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.zeros(shape))
        # In the stored tensors, so that code that knows only plain norms refuses them.
        self.register_buffer("eps", torch.tensor(eps, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) in the precision of `x`; the mean square is float32."""
        wide = x.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return (normed * (self.g + GAIN_OFFSET)).type_as(x)


class Branch(nn.Sequential):
    """Residual branch x + block(norm(x)), its parts numbered as in x-transformers' `Decoder`.

    Args:
        norm: Of the input.
        block: Attention or feed-forward.

    Attributes:
        recompute: Keep only the block's input for the backward pass of training, and make the rest
            again there (activation checkpointing); dropout is drawn again as it was.
    """

    recompute: bool = False

    def __init__(self, norm: nn.Module, block: nn.Module) -> None:
        super().__init__(nn.ModuleList([norm]), block)

    def forward(self, x: Tensor, *context: AttentionContext) -> Tensor:
        """(B, S, D); `context` is what the block takes beside its input."""
        norm, block = cast(nn.ModuleList, self[0])[0], self[1]
        # Without a backward pass nothing is kept anyway.
        if self.recompute and self.training and torch.is_grad_enabled():
            return x + checkpoint(block, norm(x), *context, use_reentrant=False)
        return x + block(norm(x), *context)


class Transformer(nn.Module):
    """The layers between embedding and head, with weights not yet initialised.

    Args:
        config: Sizes.
    """

    def __init__(self, config: SpeechLMConfig) -> None:
        super().__init__()
        # Attention and feed-forward in turn, in one list as in the library.
        self.layers = nn.ModuleList()
        for layer in range(config.num_layers):
            norms = [_head_norm(config, heads) for heads in (config.num_heads, config.kv_heads)]
            attention = Attention(config, layer, *norms)
            feed = FeedForward(
                config.dim,
                mult=_ff_mult(config),  # type: ignore[arg-type]
                glu=True,
                swish=True,
                no_bias=True,
                sublayer_dropout=config.dropout,
            )
            self.layers += [Branch(_norm(config), attention), Branch(_norm(config), feed)]
        self.rotary_pos_emb = RotaryPositions(config)
        self.final_norm = _norm(config)

    def forward(self, x: Tensor, positions: Tensor, context: AttentionContext) -> Tensor:
        """Hidden states (B, S, D) of embedded tokens (B, S, D) at `positions` (B, S)."""
        # Angles once, for all layers.
        context = replace(context, rotations=self.rotary_pos_emb(positions))
        branches = self.branches
        for attention, feed in zip(branches[::2], branches[1::2], strict=True):
            x = feed(attention(x, context))
        return self.final_norm(x)

    @property
    def branches(self) -> list[Branch]:
        """Attention and feed-forward branches in their order."""
        return [branch for branch in self.layers if isinstance(branch, Branch)]


def layer_names(layer: int) -> tuple[str, str]:
    """Prefixes of the names of a layer's attention and feed-forward branch in a model's tensors."""
    return f"decoder.layers.{2 * layer}", f"decoder.layers.{2 * layer + 1}"


def library_decoder(config: SpeechLMConfig) -> Decoder:
    """x-transformers' own decoder of the same shape and tensor names, for tests and benchmarks."""
    return Decoder(
        dim=config.dim,
        depth=config.num_layers,
        heads=config.num_heads,
        attn_dim_head=config.dim_head,
        attn_kv_heads=config.kv_heads,
        attn_flash=True,
        attn_project_out=True,
        attn_sublayer_dropout=config.dropout,
        rotary_pos_emb=True,
        rotary_emb_dim=config.dim_head,
        attn_qk_rmsnorm=config.qk_norm,
        use_rmsnorm=True,
        ff_mult=_ff_mult(config),
        ff_glu=True,
        ff_swish=True,
        ff_no_bias=True,
        ff_sublayer_dropout=config.dropout,
        verbose=False,
    )


def _ff_mult(config: SpeechLMConfig) -> float:
    return (config.ff_dim + 0.5) / config.dim


def _norm(config: SpeechLMConfig) -> nn.Module:
    if config.norm_eps:
        return EpsilonNorm(config.dim, eps=config.norm_eps)
    return RMSNorm(config.dim, unit_offset=True)


def _head_norm(config: SpeechLMConfig, heads: int) -> nn.Module | None:
    """The norm of queries or keys, with a gain for each head; None without QK norm."""
    if not config.qk_norm:
        return None
    if config.norm_eps:
        return EpsilonNorm(heads, 1, config.dim_head, eps=config.norm_eps)
    return MultiheadRMSNorm(config.dim_head, heads=heads)
