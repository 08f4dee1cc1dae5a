"""The harmonic vocoder in operations of ONNX: its noise as a table, its pulses by maxima."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.harmonic_vocoder import (
    HIGHEST_HZ,
    LOWEST_HZ,
    HarmonicGenerator,
    noise_generator,
)

from .transforms import ConvInverseSTFT, ConvLogMel


class PlainHarmonicGenerator(nn.Module):
    """`HarmonicGenerator` for clips of up to `LONGEST` samples.

    The noise is a table of the very numbers that torch draws.

    Args:
        generator: That it does the same as.
    """

    LONGEST = 1 << 20
    noise: Tensor

    def __init__(self, generator: HarmonicGenerator) -> None:
        super().__init__()
        self.hop_length, self.sample_rate = generator.hop_length, generator.sample_rate
        self.pitch, self.backbone, self.out = generator.pitch, generator.backbone, generator.out
        self.log_mel = ConvLogMel(generator.log_mel)
        self.inverse = ConvInverseSTFT(generator.inverse)
        noise = torch.randn(1, self.LONGEST, generator=noise_generator())
        self.register_buffer("noise", noise)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, M, F) to (B, F * hop_length)."""
        octaves, voicing = self.pitch(mel)
        voiced = (voicing > 0).to(mel.dtype)
        pulses = pulse_train(octaves.exp2(), voiced, self.hop_length, self.sample_rate)
        # The log-mel's frames are those of the spectrum that is filtered.
        real, imaginary = self.log_mel.stft(pulses)
        pulse_mel = self.log_mel.of_spectrum(real, imaginary)
        hidden = self.backbone(torch.cat([mel, pulse_mel, voiced[:, None]], dim=1))
        filters = self.out(hidden).transpose(1, 2)  # (B, 3 * bins, F)
        gain, phase, noise_gain = filters.chunk(3, dim=1)
        gain, noise_gain = gain.clamp(max=4.0).exp(), noise_gain.clamp(max=4.0).exp()
        along, across = gain * phase.cos(), gain * phase.sin()
        noise_real, noise_imaginary = self.log_mel.stft(self.noise[:, : pulses.shape[-1]])
        return self.inverse(
            along * real - across * imaginary + noise_gain * noise_real,
            along * imaginary + across * real + noise_gain * noise_imaginary,
        )


def pulse_train(pitch: Tensor, voiced: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """Compute `codec.model.harmonic_vocoder.pulse_train` without a running maximum.

    Args:
        pitch: (B, F) Hz.
        voiced: (B, F) 1 where voiced, else 0.
        hop_length: Samples a frame.
        sample_rate: Hz.

    Returns:
        (B, F * hop_length).
    """
    octaves = _between_centres(pitch.clamp(LOWEST_HZ, HIGHEST_HZ).log2(), hop_length)
    level = _between_centres(voiced, hop_length)
    frequency = octaves.exp2()
    cycles = torch.cumsum(frequency.double() / sample_rate, dim=-1)
    sounds = level > 0
    before = F.pad(level, (1, 0))[..., :-1] > 0
    # a product: runtimes have no choice between float64 values
    since = running_maximum(cycles * (sounds & ~before).double())
    phases = cycles - since
    turn = (phases - phases.floor()).float()
    # Dirichlet's kernel: 1 + 2 * sum over k of cos(2 pi k turn), of `count` harmonics.
    count = torch.floor(0.5 * sample_rate / frequency)
    below = torch.sin(math.pi * turn)
    at_pulse = below.abs() < 1e-4
    kernel = torch.sin((2 * count + 1) * math.pi * turn) / torch.where(at_pulse, 1.0, below)
    kernel = torch.where(at_pulse, 2 * count + 1, kernel)
    return level * (2.0 / count).sqrt() * 0.5 * (kernel - 1.0)


def running_maximum(x: Tensor) -> Tensor:
    """Largest so far of values (B, T) of 0 and more, T up to 2^20, by doubling distances."""
    for step in range(PlainHarmonicGenerator.LONGEST.bit_length() - 1):
        shifted = F.pad(x, (1 << step, 0))[..., : x.shape[-1]]
        x = torch.maximum(x, shifted)
    return x


def _between_centres(frames: Tensor, hop_length: int) -> Tensor:
    """(B, F) at the centres of frames to (B, F * hop_length) samples, linearly; an even hop."""
    # stretches from centre to centre, the first and last from and to the ends
    before = torch.cat([frames[:, :1], frames], dim=-1)[..., None]
    after = torch.cat([frames, frames[:, -1:]], dim=-1)[..., None]
    share = (torch.arange(hop_length, device=frames.device) + 0.5) / hop_length
    samples = (before + share * (after - before)).flatten(1)  # (B, (F + 1) * hop_length)
    return samples[:, hop_length // 2 : -(hop_length // 2)]
