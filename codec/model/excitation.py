"""The source of a source-filter vocoder: a band-limited pulse train at a given pitch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LOWEST_HZ, HIGHEST_HZ = 50.0, 600.0  # of speech


def pulse_train(pitch: Tensor, voiced: Tensor, hop_length: int, sample_rate: int) -> Tensor:
    """All harmonics of a pitch below half the sample rate, in cosine phase and equally strong.

    The sum over k of cos(2 pi k phase) is taken in closed form (Dirichlet's kernel), so that a
    sample costs the same at any pitch. The phase starts at 0 wherever a voiced stretch begins:
    what is heard depends on the pitch since then and on nothing before, so that a recording may
    be cut in any pause and comes out the same.

    Args:
        pitch: (B, F) fundamental frequency, Hz, clamped to `LOWEST_HZ`..`HIGHEST_HZ`; between the
            centres of frames it is interpolated in logarithms.
        voiced: (B, F) bool; elsewhere the source is silent, with a ramp of one frame between.
        hop_length: samples a frame.
        sample_rate: Hz.

    Returns:
        (B, F * hop_length) float32, of variance 1 where voiced.
    """
    return running_pulse_train(pitch, voiced, hop_length, sample_rate)[0]


@torch.no_grad()
def running_pulse_train(
    pitch: Tensor,
    voiced: Tensor,
    hop_length: int,
    sample_rate: int,
    phase: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A pulse train that goes on where another one stopped.

    Args:
        pitch: (B, F) as of `pulse_train`; with a `phase`, the last frame of the other train
            first, of which no samples are returned.
        voiced: (B, F) bool, likewise.
        hop_length: samples a frame.
        sample_rate: Hz.
        phase: (B,) float64, of the other train's last sample; None begins a train.

    Returns:
        pulses (B, T) float32, and the phase of each sample (B, T) float64 in cycles since its
        voiced stretch began, -1 where silent; T = F * hop_length, a frame less with a `phase`.
    """
    octaves = _between_centres(pitch.float().clamp(LOWEST_HZ, HIGHEST_HZ).log2(), hop_length)
    level = _between_centres(voiced.float(), hop_length)
    if phase is not None:
        octaves, level = octaves[..., hop_length:], level[..., hop_length:]
    frequency = octaves.exp2()
    cycles = torch.cumsum(frequency.double() / sample_rate, dim=-1)
    sounds = level > 0
    begins = sounds & ~F.pad(sounds, (1, 0))[..., :-1]
    if phase is not None:
        cycles = cycles + phase.clamp(min=0.0)[:, None]
        begins[..., 0] &= phase < 0
    since = torch.cummax(torch.where(begins, cycles, 0.0), dim=-1).values
    phases = torch.remainder(cycles - since, 1.0)
    turn = phases.float()
    count = torch.floor(0.5 * sample_rate / frequency)
    below = torch.sin(math.pi * turn)
    at_pulse = below.abs() < 1e-4
    kernel = torch.sin((2 * count + 1) * math.pi * turn) / torch.where(at_pulse, 1.0, below)
    kernel = torch.where(at_pulse, 2 * count + 1, kernel)
    pulses = level * (2.0 / count).sqrt() * 0.5 * (kernel - 1.0)
    return pulses, torch.where(sounds, phases, -1.0)


def _between_centres(frames: Tensor, hop_length: int) -> Tensor:
    """(B, F) at the centres of frames to (B, F * hop_length) samples, linearly."""
    samples = F.interpolate(frames[:, None], scale_factor=hop_length, mode="linear")
    return samples[:, 0]
