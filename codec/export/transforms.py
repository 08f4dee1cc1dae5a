"""Short-time Fourier transforms as convolutions, of real tensors alone."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.layers.vocos_modules import InverseSTFT
from codec.model.mel import LogMel


def _angles(n_fft: int) -> Tensor:
    """(bins, n_fft) float64 phases of every bin at every sample."""
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.int64)
    samples = torch.arange(n_fft, dtype=torch.int64)
    # the product modulo the period, so that no digit is lost in large angles
    return (bins[:, None] * samples % n_fft).double() * (2 * math.pi / n_fft)


class ConvSTFT(nn.Module):
    """The short-time Fourier transform by one convolution with windowed cosines and sines.

    Args:
        window: (n_fft,).
        hop_length: Samples between frames.
        padding: "same" or "center", as of `MelConfig`.
    """

    bases: Tensor

    def __init__(self, window: Tensor, hop_length: int, padding: str) -> None:
        super().__init__()
        n_fft = len(window)
        self.hop_length, self.bins = hop_length, n_fft // 2 + 1
        self.margin = (n_fft - hop_length) // 2 if padding == "same" else n_fft // 2
        angles, window = _angles(n_fft), window.detach().double()
        bases = torch.cat([angles.cos() * window, -angles.sin() * window])
        self.register_buffer("bases", bases[:, None].float())

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) to real and imaginary part (B, bins, F)."""
        padded = F.pad(waveform[:, None], (self.margin, self.margin), mode="reflect")
        spectrum = F.conv1d(padded, self.bases, stride=self.hop_length)
        return spectrum[:, : self.bins], spectrum[:, self.bins :]


class ConvLogMel(nn.Module):
    """`LogMel` on a `ConvSTFT`.

    Args:
        log_mel: That it does the same as.
    """

    filterbank: Tensor

    def __init__(self, log_mel: LogMel) -> None:
        super().__init__()
        self.config = log_mel.config
        self.stft = ConvSTFT(log_mel.window, self.config.hop_length, self.config.padding)
        self.register_buffer("filterbank", log_mel.filterbank)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) to (B, M, F), as `LogMel` does."""
        return self.of_spectrum(*self.stft(waveform))

    def of_spectrum(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Parts of a spectrum (B, bins, F) to its log-mel (B, M, F)."""
        power = real.square() + imaginary.square() + self.config.power_offset
        magnitude = power.clamp(min=1e-18).sqrt()
        return torch.matmul(self.filterbank, magnitude).clamp(min=self.config.floor).log()


class ConvInverseSTFT(nn.Module):
    """`InverseSTFT` by one transposed convolution, which adds up the frames where they overlap.

    Args:
        inverse: That it does the same as.
    """

    bases: Tensor
    squares: Tensor

    def __init__(self, inverse: InverseSTFT) -> None:
        super().__init__()
        n_fft, hop = inverse.n_fft, inverse.hop_length
        self.hop_length = hop
        self.margin = (n_fft - hop) // 2 if inverse.padding == "same" else n_fft // 2
        angles, window = _angles(n_fft), inverse.window.detach().double()
        # A real signal has every bin twice but the first and, of an even length, the last.
        share = torch.full((n_fft // 2 + 1, 1), 2.0 / n_fft, dtype=torch.float64)
        share[0] = 1.0 / n_fft
        if n_fft % 2 == 0:
            share[-1] = 1.0 / n_fft
        bases = torch.cat([angles.cos() * share * window, -angles.sin() * share * window])
        self.register_buffer("bases", bases[:, None].float())
        self.register_buffer("squares", window.square()[None, None].float())

    def forward(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Parts of a spectrum (B, bins, F) to a waveform (B, T), T as of `InverseSTFT`."""
        spectrum = torch.cat([real, imaginary], dim=1)
        summed = F.conv_transpose1d(spectrum, self.bases, stride=self.hop_length)
        ones = torch.ones_like(spectrum[:1, :1])
        envelope = F.conv_transpose1d(ones, self.squares, stride=self.hop_length)
        return (summed / envelope.clamp(min=1e-11))[:, 0, self.margin : -self.margin]
