"""Discriminators of waveforms: multi-period, multi-resolution and multi-band.

The first two are those of `vocos`. Its multi-resolution discriminator is itself one on bands of
the complex spectrogram, of every clip centred and brought to one peak; ours keeps the level.
"""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrizations import weight_norm

from codec.import_shims import import_vocos

from .band_discriminator import BandDiscriminator
from .config import DiscriminatorConfig


class Discriminators(nn.Module):
    """Every configured discriminator, applied to one waveform at a time."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        source = import_vocos("discriminators")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the package's old weight norm
            members: list[nn.Module] = [source.DiscriminatorP(period) for period in config.periods]
            members += [source.DiscriminatorR(n, channels=config.channels) for n in config.n_ffts]
        for module in (inner for member in members for inner in member.modules()):
            if hasattr(module, "weight_g"):
                remove_weight_norm(module)
                weight_norm(module)
        members += [BandDiscriminator(n, config.band_channels) for n in config.band_n_ffts]
        self.members = nn.ModuleList(members)

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Judge waveforms.

        Args:
            waveform: (B, T).

        Returns:
            one score tensor and one list of feature maps for each discriminator.
        """
        outputs = [member(waveform) for member in self.members]
        return [scores for scores, _ in outputs], [maps for _, maps in outputs]
