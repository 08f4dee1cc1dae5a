"""The discriminators of `vocos`: multi-period and multi-resolution (complex, in bands)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .vocoder import import_vocos


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminators judge the waveform.

    Attributes:
        periods: of the multi-period discriminators (8 M parameters each); none on a CPU.
        n_ffts: window lengths of the multi-resolution discriminators.
        channels: width of the multi-resolution discriminators; 32 in the package.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    n_ffts: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 32


class Discriminators(nn.Module):
    """Every configured discriminator, applied to one waveform at a time."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        source = import_vocos("discriminators")
        self.members = nn.ModuleList(
            [source.DiscriminatorP(period) for period in config.periods]
            + [source.DiscriminatorR(n_fft, channels=config.channels) for n_fft in config.n_ffts]
        )

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Judge waveforms.

        Args:
            waveform: (B, T).

        Returns:
            one score tensor and one list of feature maps for each discriminator.
        """
        outputs = [member(waveform) for member in self.members]
        return [scores for scores, _ in outputs], [maps for _, maps in outputs]
