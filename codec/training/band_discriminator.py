"""A discriminator on bands of the complex spectrogram that also hears how loud a clip is."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

# Edges of the bands as shares of the bins, as in https://arxiv.org/abs/2306.06546.
BAND_EDGES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
# (kernel, stride) over (frames, bins) of every band's convolutions.
LAYERS = (((3, 9), 1), ((3, 9), 2), ((3, 9), 2), ((3, 9), 2), ((3, 3), 1))


class BandDiscriminator(nn.Module):
    """Real and imaginary part of a Hann-windowed spectrogram, a stack of convolutions a band.

    The transform is scaled so that white noise keeps its variance, which makes several window
    lengths alike in level. Clips are neither centred nor brought to one peak: a generated clip
    that is too loud is told apart. It is computed in fp32 whatever the autocast.

    Args:
        n_fft: window length, samples; frames are a quarter of it apart.
        channels: width of the convolutions.
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
            return torch.stack([spectrum.real, spectrum.imag], dim=1).transpose(2, 3)

    def forward(self, waveform: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Judge waveforms.

        Args:
            waveform: (B, T), T > n_fft / 2.

        Returns:
            scores (B, 1, frames, bands' bins) and the outputs of all convolutions but the bands'
            first, the scores last.
        """
        spectrogram = self.spectrogram(waveform)
        maps, heard = [], []
        for (low, high), stack in zip(self.bands, self.stacks, strict=True):
            x = spectrogram[..., low:high]
            assert isinstance(stack, nn.ModuleList)
            for number, layer in enumerate(stack):
                x = F.leaky_relu(layer(x), 0.1)
                if number > 0:
                    maps.append(x)
            heard.append(x)
        scores = self.last(torch.cat(heard, dim=-1))
        return scores, [*maps, scores]


def _stack(channels: int) -> nn.ModuleList:
    """The convolutions of one band."""
    layers, wide = [], 2
    for (tall, broad), stride in LAYERS:
        padding = (tall // 2, broad // 2)
        layers.append(weight_norm(nn.Conv2d(wide, channels, (tall, broad), (1, stride), padding)))
        wide = channels
    return nn.ModuleList(layers)
