"""Quantisers without a learnt codebook: a grid of levels (FSQ) and the corners of a sphere (BSQ).

Finite scalar quantisation (https://arxiv.org/abs/2309.15505) rounds each of a few bounded channels
to one of its levels; binary spherical quantisation (https://arxiv.org/abs/2406.07548, in speech
https://arxiv.org/abs/2502.04465) takes the signs of a vector on the unit sphere. A code is the
number of the cell, so that no entry can die alone and nothing has to be searched.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.distributed import process_mean

from .config import QuantizerConfig

# tanh(SLOPE x) is near the distribution function of a standard normal, doubled, minus 1: latents
# of that distribution use all levels alike.
SLOPE = 0.8
# Of the soft choice of a level in the entropy: squared distance, in levels, over this.
TEMPERATURE = 0.25


class GridStage(nn.Module):
    """Latents through a linear map to cells, and back through another.

    Args:
        config: `levels` of an "fsq", for a "bsq" as many channels of two as `codebook_size` has
            bits; the weight of the entropy in the loss.
    """

    levels: Tensor
    strides: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        levels = torch.tensor(config.grid)
        self.project_in = nn.Linear(config.dim, len(levels))
        self.project_out = nn.Linear(len(levels), config.dim)
        # The first channel counts by one, the next by the levels of those before it.
        strides = torch.cumprod(levels, 0) // levels
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        # Corners of the unit sphere, or of a cube of levels that are evenly spread in (-1, 1).
        self.reach = 2 / math.sqrt(len(levels)) if config.kind == "bsq" else 1.0

    @property
    def codebook(self) -> Tensor:
        """(codebook_size, D) decoded centres of all cells, with gradient."""
        codes = torch.arange(self.config.codebook_size, device=self.levels.device)
        digits = codes[:, None] // self.strides % self.levels
        return self.project_out(self._centres(digits))

    def encode(self, points: Tensor) -> Tensor:
        """(N, D) to codes (N,) int64."""
        return (self._digits(self._bounded(points)) * self.strides).sum(-1)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, D, L) to quantized (B, D, L), codes (B, L) and the weighted entropy.

        Gradients pass straight through the rounding, to both maps and to the latents.
        """
        bounded = self._bounded(latents.transpose(1, 2))  # (B, L, channels)
        digits = self._digits(bounded)
        rounded = bounded + (self._centres(digits) - bounded).detach()
        codes = (digits * self.strides).sum(-1)
        loss = latents.new_zeros(())
        if self.config.entropy > 0:
            loss = self.config.entropy * self.entropy(bounded.flatten(0, 1))
        return self.project_out(rounded).transpose(1, 2), codes, loss

    def entropy(self, bounded: Tensor) -> Tensor:
        """Entropy of each frame's choice of a level, less that of the mean choice.

        Args:
            bounded: (N, channels), before rounding.

        Returns:
            Scalar in [-1, 1], mean over the channels, each as a share of its largest entropy: -1
            where all frames are at centres and all levels are used alike.
        """
        terms = []
        for channel, count in enumerate(self.levels.tolist()):
            numbers = torch.arange(count, device=bounded.device)
            centres = self.reach * ((2 * numbers + 1) / count - 1)
            distance = (bounded[:, channel, None] - centres) * count / (2 * self.reach)
            choice = torch.softmax(-distance.square() / TEMPERATURE, dim=-1)  # (N, count)
            mean = process_mean(choice.mean(0))
            terms.append((_entropy(choice).mean() - _entropy(mean)) / math.log(count))
        return torch.stack(terms).mean()

    @torch.no_grad()
    def fill_from(self, points: Tensor) -> None:
        """Set both maps from data: principal components of unit variance, and the way back.

        Args:
            points: (N, D) latents, standardised.
        """
        centred = points.double() - points.double().mean(0)
        # 1. The largest variance goes to the first channels, which have the most levels.
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        count = len(self.levels)
        values, vectors = values[-count:].flip(0), vectors[:, -count:].flip(1)
        weight = (vectors / values.clamp(min=1e-6).sqrt()).T  # (channels, D)
        self.project_in.weight.copy_(weight)
        self.project_in.bias.copy_(-weight @ points.double().mean(0))
        # 2. Least squares from the cells' centres to the points that fall into them.
        cells = self._centres(self._digits(self._bounded(points))).double()
        inputs = torch.cat([cells, torch.ones_like(cells[:, :1])], dim=1)
        gram = inputs.T @ inputs + 1e-6 * len(inputs) * torch.eye(count + 1).to(inputs)
        back = torch.linalg.solve(gram, inputs.T @ points.double())  # (channels + 1, D)
        self.project_out.weight.copy_(back[:-1].T)
        self.project_out.bias.copy_(back[-1])

    def _bounded(self, rows: Tensor) -> Tensor:
        """(..., D) to (..., channels) within the cube or on the sphere."""
        mapped = self.project_in(rows)
        if self.config.kind == "bsq":
            return F.normalize(mapped, dim=-1)
        return torch.tanh(SLOPE * mapped)

    def _digits(self, bounded: Tensor) -> Tensor:
        """(..., channels) to the numbers of their levels, int64."""
        digits = ((bounded + 1) / 2 * self.levels).floor().long()
        return torch.minimum(digits.clamp(min=0), self.levels - 1)

    def _centres(self, digits: Tensor) -> Tensor:
        """Numbers of levels to their centres, float32."""
        return self.reach * ((2 * digits + 1) / self.levels - 1)


def _entropy(shares: Tensor) -> Tensor:
    """Entropy over the last dimension, nats."""
    return -torch.xlogy(shares, shares.clamp(min=1e-12)).sum(-1)
