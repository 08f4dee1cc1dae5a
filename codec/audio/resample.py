"""Resampling of batches on their device; recordings on disk go through soxr in `io.py`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Resampler(nn.Module):
    """Band-limited resampling between whole rates without delay.

    A Hann-windowed sinc, cut off just below half the lower rate, evaluated at the up / gcd phases
    of the output, as one strided convolution.

    Args:
        source_rate: Of the input, Hz.
        target_rate: Of the output, Hz.
        zero_crossings: Of the sinc on each side; more make the transition band narrower.

    Raises:
        ValueError: A rate below 1.
    """

    kernels: Tensor

    def __init__(self, source_rate: int, target_rate: int, zero_crossings: int = 32) -> None:
        super().__init__()
        if min(source_rate, target_rate) < 1:
            raise ValueError(f"expected positive rates, got {source_rate} and {target_rate}")
        divisor = math.gcd(source_rate, target_rate)
        self.down, self.up = source_rate // divisor, target_rate // divisor
        cutoff = 0.97 * min(1.0, self.up / self.down)  # of the source's half rate
        self.reach = math.ceil(zero_crossings / cutoff)
        # output m = n * up + phase lies at input moment n * down + phase * down / up
        moments = torch.arange(self.up, dtype=torch.float64) * self.down / self.up
        taps = torch.arange(-self.reach, self.reach + self.down + 1, dtype=torch.float64)
        distance = (taps - moments[:, None]) * cutoff
        window = torch.cos(0.5 * math.pi * (distance / zero_crossings).clamp(-1.0, 1.0)).square()
        kernels = cutoff * torch.sinc(distance) * window
        self.register_buffer("kernels", kernels.float()[:, None], persistent=False)

    def num_samples(self, lengths: Tensor) -> Tensor:
        """Compute the output length of inputs of `lengths` samples: ceil(lengths * up / down)."""
        return -((-lengths * self.up) // self.down)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, T) to (B, ceil(T * up / down)) float32; beyond its ends the input counts as 0."""
        if self.up == self.down:
            return waveform.float()
        wanted = -(-waveform.shape[-1] * self.up // self.down)
        hops = -(-wanted // self.up)
        # zeros after the end, as far as the last kernel reaches
        right = (hops - 1) * self.down + self.kernels.shape[-1] - self.reach - waveform.shape[-1]
        with torch.autocast(waveform.device.type, enabled=False):
            padded = F.pad(waveform.float()[:, None], (self.reach, max(0, right)))
            phases = F.conv1d(padded, self.kernels, stride=self.down)  # (B, up, hops)
        return phases.transpose(1, 2).flatten(1)[:, :wanted]
