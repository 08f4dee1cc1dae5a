"""Discriminators of log-mels: small two-dimensional convolutions, one stack for each band of mels.

An L1 loss leaves a decoder's mels blurred where the codes leave several sharp ones open. These tell
patches of decoded mels from recorded ones at the mel rate, so that no vocoder runs, as in
Kanade (https://arxiv.org/abs/2602.00594).
"""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .config import DiscriminatorConfig

# Log-mels of speech come to roughly zero mean and unit variance by these, in nats.
MEAN, STD = -1.4, 1.9
# Strides over (mels, frames) of a stack's 3 x 3 convolutions.
STRIDES = ((1, 1), (2, 1), (2, 2), (1, 1))


class MelDiscriminators(nn.Module):
    """A discriminator for each band of neighbouring mels.

    Args:
        num_mels: Bands M of the log-mels.
        config: Number of the discriminators' bands, and their width.

    Raises:
        ValueError: More bands than mels.
    """

    def __init__(self, num_mels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        count = config.mel_bands
        if not 1 <= count <= num_mels:
            raise ValueError(f"discriminators.mel_bands: expected 1..{num_mels}, got {count}")
        edges = [round(number * num_mels / count) for number in range(count + 1)]
        self.bands = list(itertools.pairwise(edges))
        self.members = nn.ModuleList(PatchDiscriminator(config.mel_channels) for _ in self.bands)
        self.kinds = (count,)

    def forward(self, mel: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Score log-mels.

        Args:
            mel: (B, M, F).

        Returns:
            One score tensor and one list of feature maps for each band.
        """
        scaled = (mel - MEAN) / STD
        outputs = [
            member(scaled[:, low:high])
            for member, (low, high) in zip(self.members, self.bands, strict=True)
        ]
        return [scores for scores, _ in outputs], [maps for _, maps in outputs]


class PatchDiscriminator(nn.Module):
    """Convolutions of 3 x 3 whose every output scores a patch of one band.

    Args:
        channels: Their width.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [1] + [channels] * len(STRIDES)
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, 3, stride, padding=1))
            for before, after, stride in zip(widths, widths[1:], STRIDES, strict=False)
        )
        self.last = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, band: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, N, F) of N mels to scores (B, 1, N', F') and all layers' outputs, scores last."""
        x, maps = band[:, None], []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            maps.append(x)
        scores = self.last(x)
        return scores, [*maps, scores]
