"""Transformer blocks with rotary positions, over all frames or a window around each."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import init_truncated_normal

LONGEST_WAVE = 10_000.0  # base of the rotary frequencies


class RotaryBlock(nn.Module):
    """Pre-norm attention with rotary positions, and a perceptron.

    Positions (https://arxiv.org/abs/2104.09864) enter as differences only, so that a recording may
    have any length.

    Args:
        dim: Channels C.
        num_heads: Heads; C / heads is even.
        window: Frames that a frame sees on either side; 0 for all.
        layer_scale: Initial value of the per-channel scales of both residual branches.
    """

    def __init__(self, dim: int, num_heads: int, window: int, layer_scale: float) -> None:
        super().__init__()
        self.num_heads, self.window = num_heads, window
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.expand = nn.Linear(dim, 4 * dim)
        self.contract = nn.Linear(4 * dim, dim)
        self.scale1 = nn.Parameter(torch.full((dim,), layer_scale))
        self.scale2 = nn.Parameter(torch.full((dim,), layer_scale))
        self.apply(init_truncated_normal)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, L) to (B, C, L)."""
        x = x.transpose(1, 2)  # (B, L, C)
        x = x + self.scale1 * self.out(self._attended(self.norm1(x)))
        hidden = self.contract(F.gelu(self.expand(self.norm2(x))))
        return (x + self.scale2 * hidden).transpose(1, 2)

    def _attended(self, x: Tensor) -> Tensor:
        """(B, L, C) to the heads' values, weighted, (B, L, C)."""
        split = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, L, C / heads) each
        query, key = rotated(query), rotated(key)
        mask = near(x.shape[1], self.window, x.device) if self.window else None
        if query.requires_grad and query.device.type == "cpu":
            # On a CPU the backward pass of the fused attention takes four times as long in bf16.
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, -torch.inf)
            attended = torch.softmax(scores, dim=-1) @ value
        else:
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return attended.transpose(1, 2).flatten(2)


def rotated(x: Tensor) -> Tensor:
    """Turn pairs of channels of (B, heads, L, D) by angles that grow with the frame's number."""
    half = x.shape[-1] // 2
    with torch.autocast(x.device.type, enabled=False):
        exponents = torch.arange(half, device=x.device, dtype=torch.float32) / half
        frames = torch.arange(x.shape[-2], device=x.device, dtype=torch.float32)
        angles = frames[:, None] * LONGEST_WAVE**-exponents  # (L, D / 2)
        cosines, sines = angles.cos(), angles.sin()
        first, second = x.float().chunk(2, dim=-1)
        turned = [first * cosines - second * sines, first * sines + second * cosines]
        return torch.cat(turned, dim=-1).to(x.dtype)


def near(num_frames: int, window: int, device: torch.device) -> Tensor:
    """(L, L) bool: which frames are within a window of each other."""
    numbers = torch.arange(num_frames, device=device)
    return (numbers[:, None] - numbers).abs() <= window


def rotary_blocks(dim: int, num_layers: int, num_heads: int, window: int) -> nn.Sequential:
    """A stack of blocks, the identity where there are none."""
    return nn.Sequential(
        *(RotaryBlock(dim, num_heads, window, 1 / num_layers) for _ in range(num_layers))
    )
