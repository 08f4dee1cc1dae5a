"""Discriminators of waveforms (multi-period, multi-resolution and multi-band) and of log-mels.

The first two are those of `vocos`. Its multi-resolution discriminator is itself one on bands of
the complex spectrogram, of every clip centred and brought to one peak; ours keeps the level.

An L1 loss leaves a decoder's mels blurred where the codes leave several sharp ones open. Those of
log-mels, small two-dimensional convolutions, tell patches of decoded mels from recorded ones at
the mel rate, so that no vocoder runs, as in Kanade (https://arxiv.org/abs/2602.00594).
"""

from __future__ import annotations

import itertools
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrizations import weight_norm

from codec.import_shims import import_vocos

from .config import DiscriminatorConfig

# Edges of the bands as shares of the bins, as in https://arxiv.org/abs/2306.06546.
BAND_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
# (kernel, stride) over (frames, bins) of every band's convolutions.
LAYERS = (((3, 9), 1), ((3, 9), 2), ((3, 9), 2), ((3, 9), 2), ((3, 3), 1))
# Log-mels of speech come to roughly zero mean and unit variance by these, in nats.
MEAN, STD = -1.4, 1.9
# Strides over (mels, frames) of the 3 x 3 convolutions on a band of mels.
STRIDES = ((1, 1), (2, 1), (2, 2), (1, 1))


class Discriminators(nn.Module):
    """Every configured discriminator, applied to one waveform at a time."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        source = import_vocos("discriminators")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the package's old weight norm
            members: list[nn.Module] = [source.DiscriminatorP(period) for period in config.periods]
            members += [source.DiscriminatorR(n, channels=config.channels) for n in config.n_ffts]
        # In place of the old weight norm its parametrization, whose weights have the same values.
        for module in (inner for member in members for inner in member.modules()):
            if hasattr(module, "weight_g"):
                remove_weight_norm(module)
                weight_norm(module)
        members += [BandDiscriminator(n, config.band_channels) for n in config.band_n_ffts]
        self.members = nn.ModuleList(members)
        # Numbers of members that are multi-period, multi-resolution and multi-band.
        self.kinds = len(config.periods), len(config.n_ffts), len(config.band_n_ffts)

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Score waveforms.

        Args:
            waveform: (B, T).

        Returns:
            One score tensor and one list of feature maps for each discriminator.
        """
        outputs = [member(waveform) for member in self.members]
        return [scores for scores, _ in outputs], [maps for _, maps in outputs]


class BandDiscriminator(nn.Module):
    """Convolutions on each band of a complex Hann-windowed spectrogram, sensitive to level.

    The transform is scaled so that white noise keeps its variance, which makes several window
    lengths alike in level. Clips are neither centred nor brought to one peak: a generated clip
    that is too loud is told apart. It is computed in fp32 whatever the autocast.

    Args:
        n_fft: Window length, samples; frames are a quarter of it apart.
        channels: Width of the convolutions.
    """

    window: Tensor

    def __init__(self, n_fft: int, channels: int = 32) -> None:
        super().__init__()
        self.n_fft = n_fft
        bins = n_fft // 2 + 1
        edges = [round(edge * bins) for edge in BAND_EDGES]
        self.bands = list(itertools.pairwise(edges))
        self.stacks = nn.ModuleList(_stack(channels) for _ in self.bands)
        self.last = weight_norm(nn.Conv2d(channels, 1, 3, padding=1))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """(B, T) to (B, 2, frames, bins) float32, frames = T // (n_fft // 4) + 1."""
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                waveform.float(),
                self.n_fft,
                self.n_fft // 4,
                window=self.window,
                return_complex=True,
            )
            spectrum = spectrum / self.window.square().sum().sqrt()
            # (B, bins, frames) complex to (B, 2, frames, bins) real
            return torch.stack([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Score waveforms.

        Args:
            waveform: (B, T), T > n_fft / 2.

        Returns:
            Scores (B, 1, frames, bands' bins) and the outputs of all convolutions but the bands'
            first, the scores last.
        """
        spectrogram = self.spectrogram(waveform)
        maps, outputs = [], []
        for (low, high), stack in zip(self.bands, self.stacks, strict=True):
            x = spectrogram[..., low:high]
            assert isinstance(stack, nn.ModuleList)
            for number, layer in enumerate(stack):
                x = F.leaky_relu(layer(x), 0.1)
                if number > 0:
                    maps.append(x)
            outputs.append(x)
        scores = self.last(torch.cat(outputs, dim=-1))
        return scores, [*maps, scores]


def _stack(channels: int) -> nn.ModuleList:
    """The convolutions of one band."""
    layers, width = [], 2  # real and imaginary part
    for (frames, bins), stride in LAYERS:
        padding = (frames // 2, bins // 2)
        layers.append(weight_norm(nn.Conv2d(width, channels, (frames, bins), (1, stride), padding)))
        width = channels
    return nn.ModuleList(layers)


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


Ensemble = Discriminators | MelDiscriminators
