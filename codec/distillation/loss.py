"""Semantic distillation: quantized latents learn to predict a speech model's features.

The loss of SpeechTokenizer (https://arxiv.org/abs/2308.16692) as HH-Codec
(https://arxiv.org/abs/2507.18897) uses it, with one change: the teacher's features are
interpolated at the centres of the codec's own frames, so that both agree on the time axis for a
crop of any length and offset.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.resample import Resampler
from codec.audio.sources import AudioSource, CropPlace
from codec.distributed import mean_of_unequal, wait_for_all

from .config import SemanticConfig
from .feature_cache import SemanticCache, fill_cache
from .frame_grid import FrameGrid, crop_times, features_at
from .teachers import Teacher, load_teacher


class Distillation(nn.Module):
    """The student's head, and the loss between it and a frozen teacher.

    The teacher is no submodule: it has no part in checkpoints or optimizers.

    Args:
        config: Teacher, axis and distance.
        latent_dim: Width D of the quantized latents.
        codec_frame_rate: Codes per second, Hz.
        sample_rate: Of the waveforms, Hz.
        teacher: In place of the one that `config` names.

    Raises:
        TeacherError: The teacher is not there or cannot be used.
    """

    def __init__(
        self,
        config: SemanticConfig,
        latent_dim: int,
        codec_frame_rate: float,
        sample_rate: int,
        *,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.grid = FrameGrid(codec_frame_rate, 0.5 / codec_frame_rate)
        self.sample_rate = sample_rate
        self.teacher = (
            load_teacher(config.teacher, bf16=config.bf16) if teacher is None else teacher
        )
        self.resample = Resampler(sample_rate, self.teacher.sample_rate)
        self.head = nn.Linear(latent_dim, self.teacher.dim)
        self.caches: list[SemanticCache] = []

    def prepare(self, sources: Sequence[AudioSource], device: torch.device | str = "cpu") -> None:
        """With `config.cache`, run the teacher on every clip of the sources; a cut-off run goes on.

        Sources are in the order that `CropPlace.source` numbers them. Processes that train together
        share the clips.

        Raises:
            SemanticCacheError: The folder holds features of another teacher or other clips.
        """
        if not self.config.cache:
            return
        folders = [Path(self.config.cache) / str(number) for number in range(len(sources))]
        for source, folder in zip(sources, folders, strict=True):
            fill_cache(source, self.teacher, folder, device=device)
        wait_for_all()  # every process reads all shards
        self.caches = [
            SemanticCache(folder, self.teacher.fingerprint, source)
            for source, folder in zip(sources, folders, strict=True)
        ]

    @torch.no_grad()
    def targets(
        self, waveform: Tensor, lengths: Tensor | None, num_frames: int
    ) -> tuple[Tensor, Tensor]:
        """Compute the teacher's features at the codec's frames.

        Args:
            waveform: (B, T) at `sample_rate`.
            lengths: (B,) valid samples, best on the CPU; None means T.
            num_frames: L.

        Returns:
            Targets (B, L, dim) float32 on the waveform's device, and mask (B, L) bool on the CPU:
            frames whose centre lies within the clip and not beyond the teacher's own frames, of
            which a short clip has none.
        """
        # Lengths steer slicing: on the CPU no step of them waits for the device.
        if lengths is None:
            lengths = torch.full((len(waveform),), waveform.shape[-1])
        lengths = lengths.cpu()
        if (lengths < waveform.shape[-1]).any():
            inside = torch.arange(waveform.shape[-1]) < lengths[:, None]
            # silenced before resampling, whose filter would carry padding into the clip
            waveform = waveform.masked_fill(~inside.to(waveform.device), 0.0)
        resampled = self.resample(waveform)
        resampled_lengths = self.resample.num_samples(lengths)
        features = self.teacher.features(resampled, resampled_lengths)
        counts = self.teacher.num_frames(resampled_lengths)
        # The teacher's frames lie elsewhere than the codec's: interpolated at the codec's centres.
        times = self.grid.centres(num_frames)
        targets, covered = features_at(features, counts, self.teacher.grid, times)
        return targets, covered & (times < lengths[:, None] / self.sample_rate)

    def cached_targets(
        self, positions: Sequence[CropPlace], num_samples: int, num_frames: int
    ) -> tuple[Tensor, Tensor]:
        """Look up the teacher's features of whole clips at the codec's frames of some crops.

        A crop played faster or slower has the features of its clip at the original speed.

        Args:
            positions: Clips and offsets of the crops, B of them.
            num_samples: Length of a crop as played.
            num_frames: L.

        Returns:
            Targets (B, L, dim) float32 and mask (B, L) bool on the CPU, as `targets` gives them.

        Raises:
            ValueError: There are no features of the clips; call `prepare` first.
        """
        if not self.caches:
            raise ValueError("no cached features: set semantic.cache and call prepare first")
        targets, masks = [], []
        for crop in positions:
            times, filled = crop_times(self.grid, num_frames, crop, num_samples, self.sample_rate)
            target, covered = self.caches[crop.source].at(crop.clip, times)
            targets.append(target)
            masks.append(filled & covered)
        return torch.stack(targets), torch.stack(masks)

    def loss(
        self,
        quantized: Tensor,
        waveform: Tensor,
        lengths: Tensor | None = None,
        positions: Sequence[CropPlace] | None = None,
    ) -> Tensor:
        """Compute the distance of the student's predictions from the teacher's features.

        Args:
            quantized: (B, D, L) with gradient.
            waveform: (B, T) that they were made from, at `sample_rate`.
            lengths: (B,) valid samples; None means T, or those of `positions`.
            positions: Clips and offsets of the crops; with a cache, targets are read from it.

        Returns:
            Scalar float32; 0 when no frame can be compared.
        """
        if positions is not None and lengths is None:
            lengths = torch.tensor([crop.length for crop in positions])
        if self.caches and positions is not None:
            targets, mask = self.cached_targets(positions, waveform.shape[-1], quantized.shape[-1])
            targets = targets.to(quantized.device)
        else:
            targets, mask = self.targets(waveform, lengths, quantized.shape[-1])
        with torch.autocast(quantized.device.type, enabled=False):
            student = self.head(quantized.float().transpose(1, 2))  # (B, L, dim)
            cosines = masked_cosines(student, targets, mask, self.config.axis)
            if cosines.numel() == 0:
                loss = 0.0 * student.sum()  # the head still gets a gradient, as in other processes
            elif self.config.distance == "cosine":
                loss = (1.0 - cosines).mean()
            else:
                loss = -F.logsigmoid(cosines).mean()
            return mean_of_unequal(loss, cosines.numel())


def masked_cosines(student: Tensor, teacher: Tensor, mask: Tensor, axis: str) -> Tensor:
    """Cosines of student and teacher over the frames of the mask.

    Args:
        student: (B, L, dim).
        teacher: (B, L, dim).
        mask: (B, L) bool; on the CPU nothing of it waits for the device.
        axis: "time" compares every channel of a clip over its frames, clips with fewer than two
            left out (a cosine of single numbers is only their sign); "channel" every frame.

    Returns:
        (N,) in [-1, 1], N = clips * dim for "time" and N = frames for "channel".
    """
    if axis == "channel":
        return F.cosine_similarity(student[mask], teacher[mask], dim=-1)
    enough = mask.sum(dim=1) >= 2
    hidden = ~mask[enough][..., None].to(student.device)  # zeros change no cosine over time
    student = student[enough].masked_fill(hidden, 0.0)
    teacher = teacher[enough].masked_fill(hidden, 0.0)
    return F.cosine_similarity(student, teacher, dim=1).flatten()
