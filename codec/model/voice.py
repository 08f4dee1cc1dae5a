"""The voice of a recording in a few tokens, and the modulation of the mel decoder by it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.distributed import channel_statistics
from codec.interface.precision import Float32Module

from .config import CodecConfig, QuantizerConfig, VoiceConfig
from .grid_quantization import GridStage

_LEAST_VARIANCE = 1e-6
_LEAST_SHARE = 0.02  # of a batch in the running statistics


@dataclass(frozen=True)
class Voice:
    """Voices of a batch of recordings.

    Attributes:
        vectors: (B, E, K) of the tokens, with a gradient to the states that they were read off.
        tokens: (B, K) int64.
        loss: Scalar, weighted entropy of the choice of tokens.
    """

    vectors: Tensor
    tokens: Tensor
    loss: Tensor


class VoiceCode(Float32Module):
    """Encoder states (B, L, C) to tokens (B, K) of the whole recording, and to their vectors.

    Mean and deviation over time, of features that attention weighs, as for speaker embeddings
    (https://arxiv.org/abs/1803.10963); each token is a cell of a grid
    (`codec.model.grid_quantization`), whose maps all tokens share. In fp32 whatever the autocast
    and the precision of decoding, so that a recording has the same tokens everywhere.

    Args:
        config: Of the voice, with 1 token or more.
        state_dim: C.
    """

    def __init__(self, config: VoiceConfig, state_dim: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(state_dim, config.dim)
        self.score = nn.Linear(config.dim, 1)
        self.standardize = _Standardization(2 * config.dim)
        self.head = nn.Linear(2 * config.dim, config.tokens * config.dim)
        sizes = QuantizerConfig(
            codebook_size=config.size,
            dim=config.dim,
            num_stages=1,
            kind="fsq",
            levels=config.levels,
            entropy=config.entropy,
        )
        self.grid = GridStage(sizes)
        # Channels of the grid begin near unit variance over recordings, where all levels are used.
        nn.init.normal_(self.head.weight, std=(2 * config.dim) ** -0.5)
        nn.init.normal_(self.grid.project_in.weight, std=config.dim**-0.5)

    def forward(self, states: Tensor) -> Voice:
        """Read the voice off (B, L, C), with gradients straight through the rounding."""
        with torch.autocast(states.device.type, enabled=False):
            made, tokens, loss = self.grid(self._points(states).transpose(1, 2))
            # Exactly the vectors of the tokens, which the rounding's way round misses.
            vectors = self.vectors(tokens).detach() + (made - made.detach())
        return Voice(vectors, tokens, loss)

    def encode(self, states: Tensor) -> Tensor:
        """(B, L, C) to tokens (B, K) int64."""
        with torch.autocast(states.device.type, enabled=False):
            points = self._points(states)
            return self.grid.encode(points.flatten(0, 1)).view(points.shape[:2])

    def vectors(self, tokens: Tensor) -> Tensor:
        """Tokens (B, K) to their vectors (B, E, K) float32."""
        with torch.autocast(tokens.device.type, enabled=False):
            return self.grid.codebook[tokens].transpose(1, 2)

    def _points(self, states: Tensor) -> Tensor:
        """(B, L, C) to a point (B, K, E) for every token."""
        frames = F.gelu(self.embed(states.float()))  # (B, L, E)
        weights = torch.softmax(self.score(frames), dim=1)  # (B, L, 1)
        mean = (weights * frames).sum(1)
        variance = (weights * (frames - mean[:, None]).square()).sum(1)
        pooled = torch.cat([mean, (variance + 1e-5).sqrt()], dim=-1)  # (B, 2E)
        return self.head(self.standardize(pooled)).unflatten(-1, (self.config.tokens, -1))


class _Standardization(nn.Module):
    """Pooled features (B, C) less their mean over recordings, in their deviations.

    Recordings have most of their pooled states in common: normalised each by itself, all of them
    fall into one cell of the grid, and stay there. The statistics are running averages in train
    mode, too, so that what a recording's features become depends little on its batch.
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("var", torch.ones(size))
        self.register_buffer("count", torch.tensor(0))  # batches taken in

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, C) to (B, C), in train mode after taking the batch of all processes in."""
        if self.training:
            self._take_in(pooled.detach())
        return (pooled - self.mean) / (self.var + _LEAST_VARIANCE).sqrt()

    @torch.no_grad()
    def _take_in(self, pooled: Tensor) -> None:
        """Average a batch in: all batches count alike at first, later ones for more."""
        mean, var = channel_statistics(pooled.T[None])  # of (1, C, B)
        self.count += 1
        share = (1 / self.count.to(mean)).clamp(min=_LEAST_SHARE)
        # Total variance: within the batches, and between them and what was before.
        apart = (mean - self.mean).square()
        self.var.lerp_(var + (1 - share) * apart, share)
        self.mean.lerp_(mean, share)


class FiLM(nn.Module):
    """A scale and a shift of every channel, for each block of a decoder, from a voice.

    Feature-wise linear modulation (https://arxiv.org/abs/1709.07871). The maps are zero at first:
    a decoder computes what it would without a voice until they have learnt.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        voice, size = config.voice, config.decoder
        self.embed = nn.Linear(voice.tokens * voice.dim, 2 * voice.dim)
        self.maps = nn.ModuleList(
            nn.Linear(2 * voice.dim, 2 * size.dim) for _ in range(size.num_layers)
        )
        for each in self.maps.parameters():
            nn.init.zeros_(each)

    def forward(self, vectors: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Vectors (B, E, K) to factors less 1 and to offsets, (B, C, 1) each, of every block."""
        hidden = F.gelu(self.embed(vectors.flatten(1).to(self.embed.weight.dtype)))
        modulated = (each(hidden)[..., None].chunk(2, dim=1) for each in self.maps)
        return [(scale, shift) for scale, shift in modulated]
