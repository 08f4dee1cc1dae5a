"""Building blocks that encoder and decoder share; all map (B, C, L) to (B, C, L)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.distributed import drawn_like, process_count


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, LayerNorm, two-layer perceptron, layer scale, residual.

    ConvNeXt (https://arxiv.org/abs/2201.03545) in one dimension, as used by Vocos
    (https://arxiv.org/abs/2306.00814).

    Args:
        dim: Channels C.
        hidden_dim: Width of the perceptron.
        layer_scale: Initial value of the per-channel scale of the residual branch.
    """

    def __init__(self, dim: int, hidden_dim: int, layer_scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.expand = nn.Linear(dim, hidden_dim)
        self.contract = nn.Linear(hidden_dim, dim)
        # small at first, so that a deep stack starts close to the identity
        self.scale = nn.Parameter(layer_scale * self.norm.weight.detach().clone())
        self.apply(init_truncated_normal)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L) to (B, C, L)."""
        hidden = self.norm(self.depthwise(x).transpose(1, 2))  # (B, L, C)
        hidden = self.scale * self.contract(F.gelu(self.expand(hidden)))
        return x + hidden.transpose(1, 2)


class BatchDropout(nn.Dropout):
    """Dropout that processes which share a batch draw as one process would."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to (B, ...)."""
        # One process draws as torch does, bit for bit.
        if not self.training or self.p == 0 or process_count() == 1:
            return super().forward(x)
        return x * drawn_like(lambda whole: F.dropout(torch.ones_like(whole), self.p), x.detach())


class FrameGroupNorm(nn.GroupNorm):
    """GroupNorm whose mean and variance may count some frames less than others."""

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, L) to (B, C, L); weights (B, L) in [0, 1], None counts all frames alike."""
        if weights is None:
            return super().forward(x)
        groups = x.unflatten(1, (self.num_groups, -1))  # (B, G, C / G, L)
        share = (weights / weights.sum(dim=-1, keepdim=True))[:, None, None]  # (B, 1, 1, L)
        mean = (groups * share).sum(dim=-1).mean(dim=-1)[..., None, None]
        centred = groups - mean
        variance = (centred.square() * share).sum(dim=-1).mean(dim=-1)[..., None, None]
        normed = (centred * (variance + self.eps).rsqrt()).flatten(1, 2)  # (B, C, L)
        return normed * self.weight[:, None] + self.bias[:, None]


class ResidualConvBlock(nn.Module):
    """GroupNorm, swish, convolution, twice, with dropout before the second and a residual."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = FrameGroupNorm(32, dim, eps=1e-6)
        self.conv1 = nn.Conv1d(dim, dim, 3, padding=1)
        self.norm2 = FrameGroupNorm(32, dim, eps=1e-6)
        self.dropout = BatchDropout(dropout)
        self.conv2 = nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, L) to (B, C, L); weights (B, L) of the frames, as of `FrameGroupNorm`."""
        hidden = self.conv1(F.silu(self.norm1(x, weights)))
        return x + self.conv2(self.dropout(F.silu(self.norm2(hidden, weights))))


class AttentionBlock(nn.Module):
    """Single-head attention over all frames, without positions, and a residual."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = FrameGroupNorm(32, dim, eps=1e-6)
        self.query = nn.Conv1d(dim, dim, 1)
        self.key = nn.Conv1d(dim, dim, 1)
        self.value = nn.Conv1d(dim, dim, 1)
        self.out = nn.Conv1d(dim, dim, 1)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, C, L) to (B, C, L); every frame sees every frame.

        Args:
            x: The frames.
            weights: (B, L) in (0, 1], factors of the attention that each frame gets; None is 1.
        """
        normed = self.norm(x, weights)
        query, key, value = (
            layer(normed).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )  # (B, L, C)
        # one head as wide as the block: no positions, so any length
        bias = None if weights is None else weights.log().to(query.dtype)[:, None]  # (B, 1, L)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return x + self.out(attended.transpose(1, 2))


def init_truncated_normal(module: nn.Module) -> None:
    """Initialise convolutions and linear maps as Vocos does: std 0.02, zero bias."""
    if isinstance(module, (nn.Conv1d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
