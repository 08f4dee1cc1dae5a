"""Training losses, each from tensors to one fp32 scalar."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.distributed import mean_of_unequal
from codec.model.config import MelConfig
from codec.model.harmonic_vocoder import HIGHEST_HZ, LOWEST_HZ
from codec.model.mel import LogMel


def mel_l1(mel: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two log-mels (B, M, F), in nats; no further logarithm."""
    return (mel.float() - target.float()).abs().mean()


class MultiScaleMel(nn.Module):
    """L1 distance between the log-mels of two waveforms, averaged over several resolutions."""

    def __init__(
        self,
        sample_rate: int,
        *,
        n_ffts: tuple[int, ...] = (512, 1024, 2048),
        mel_bins: tuple[int, ...] = (40, 80, 120),
        floor: float = 1e-2,
    ) -> None:
        super().__init__()
        # The floor grows with the window: so do the magnitudes of the same sound.
        self.scales = nn.ModuleList(
            LogMel(MelConfig(sample_rate, n_fft, n_fft // 4, n_mels, floor * n_fft / 1024, "same"))
            for n_fft, n_mels in zip(n_ffts, mel_bins, strict=True)
        )

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            estimate: (B, T) waveform that receives the gradient.
            target: (B, T) waveform.

        Returns:
            Scalar float32, nats.
        """
        losses = [(scale(estimate) - scale(target).detach()).abs().mean() for scale in self.scales]
        return torch.stack(losses).mean()


def pitch_loss(octaves: Tensor, voicing: Tensor, pitch: Tensor, voiced: Tensor) -> Tensor:
    """Distance of a pitch network's output from tracked pitch.

    Args:
        octaves: (B, F) of `PitchNetwork`, over 1 Hz.
        voicing: (B, F) of `PitchNetwork`, logits.
        pitch: (B, F) tracked, Hz.
        voiced: (B, F) bool, tracked.

    Returns:
        Scalar float32: cross-entropy of the voicing in nats, plus 2 per octave of mean absolute
        difference over voiced frames.
    """
    target = pitch.clamp(LOWEST_HZ, HIGHEST_HZ).log2()
    count = voiced.sum()
    distance = ((octaves - target).abs() * voiced).sum() / count.clamp(min=1)
    # Processes have different numbers of voiced frames; the mean is over all of them.
    distance = mean_of_unequal(distance, count)
    return F.binary_cross_entropy_with_logits(voicing, voiced.float()) + 2.0 * distance


def discriminator_hinge(real_scores: list[Tensor], fake_scores: list[Tensor]) -> Tensor:
    """Hinge loss of the discriminators, averaged over them: max(0, 1 - real) + max(0, 1 + fake)."""
    losses = [
        F.relu(1.0 - real.float()).mean() + F.relu(1.0 + fake.float()).mean()
        for real, fake in zip(real_scores, fake_scores, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_hinge(fake_scores: list[Tensor]) -> Tensor:
    """Hinge loss of the generator, averaged over the discriminators: max(0, 1 - fake)."""
    return torch.stack([F.relu(1.0 - fake.float()).mean() for fake in fake_scores]).mean()


def discriminator_least_squares(real_scores: list[Tensor], fake_scores: list[Tensor]) -> Tensor:
    """Least-squares loss of the discriminators, averaged over them: (1 - real)^2 + fake^2."""
    losses = [
        (1.0 - real.float()).square().mean() + fake.float().square().mean()
        for real, fake in zip(real_scores, fake_scores, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_least_squares(fake_scores: list[Tensor]) -> Tensor:
    """Least-squares loss of the generator, averaged over the discriminators: (1 - fake)^2."""
    return torch.stack([(1.0 - fake.float()).square().mean() for fake in fake_scores]).mean()


def feature_matching(
    real_maps: list[list[Tensor]],
    fake_maps: list[list[Tensor]],
    kinds: Sequence[int] | None = None,
) -> Tensor:
    """Mean absolute difference of the discriminators' feature maps; real ones are detached.

    Args:
        real_maps: Of each discriminator for recordings.
        fake_maps: Of each discriminator for generated audio.
        kinds: Numbers of discriminators of each kind, in their order: the mean is over the maps
            of a kind, then over the kinds that there are. None averages over all maps at once.

    Returns:
        Scalar float32.
    """
    distances = [
        [
            (real.detach().float() - fake.float()).abs().mean()
            for real, fake in zip(reals, fakes, strict=True)
        ]
        for reals, fakes in zip(real_maps, fake_maps, strict=True)
    ]
    ends = itertools.accumulate([len(distances)] if kinds is None else kinds, initial=0)
    groups = [
        list(itertools.chain.from_iterable(distances[start:end]))
        for start, end in itertools.pairwise(ends)
    ]
    return torch.stack([torch.stack(group).mean() for group in groups if group]).mean()
