"""The discriminators of `vocos`: multi-period and multi-resolution (complex, in bands)."""

from __future__ import annotations

import warnings

from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrizations import weight_norm

from .phases import DiscriminatorConfig
from .vocoder import import_vocos


class Discriminators(nn.Module):
    """Every configured discriminator, applied to one waveform at a time."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        source = import_vocos("discriminators")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the package's old weight norm
            self.members = nn.ModuleList(
                [source.DiscriminatorP(period) for period in config.periods]
                + [source.DiscriminatorR(size, channels=config.channels) for size in config.n_ffts]
            )
        for module in self.members.modules():
            if hasattr(module, "weight_g"):
                remove_weight_norm(module)
                weight_norm(module)

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Judge waveforms.

        Args:
            waveform: (B, T).

        Returns:
            one score tensor and one list of feature maps for each discriminator.
        """
        outputs = [member(waveform) for member in self.members]
        return [scores for scores, _ in outputs], [maps for _, maps in outputs]
