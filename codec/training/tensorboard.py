"""Curves, mel pictures and audio of a training run for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.requirements import install_command

from .validation import Validation


class Dashboard:
    """Writer of TensorBoard events into a phase's folder, for `tensorboard --logdir <run>`.

    Mels and audio are written of the first `num_clips` validation crops.

    Raises:
        ValueError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, sample_rate: int, num_clips: int = 3) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                f"tensorboard: expected the package tensorboard: {install_command('tensorboard')}"
            ) from error
        self.sample_rate = sample_rate
        self.num_clips = num_clips
        self._make_writer = partial(SummaryWriter, str(folder / "tensorboard"))
        self._writer: Any = None
        self._has_recordings = False

    def open(self, step: int) -> None:
        """Begin, or go on from a restored step: events beyond it are purged."""
        self._writer = self._make_writer(purge_step=step + 1 if step else None)

    def scalars(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Add a point to the curve of every metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(f"{split}/{name}", value, step)

    def show(self, step: int, validation: Validation) -> None:
        """Add mels above one another, decoded below recorded, and the audio of both."""
        for clip in range(min(self.num_clips, len(validation.recordings))):
            picture = mel_picture(validation.target[clip], validation.mel[clip])
            self._writer.add_image(f"mel/{clip}", picture, step)
            self._add_audio(f"decoded/{clip}", validation.waveforms[clip], step)
            if not self._has_recordings:
                self._add_audio(f"recorded/{clip}", validation.recordings[clip], step)
        self._has_recordings = True
        self._writer.flush()

    def _add_audio(self, name: str, waveform: Tensor, step: int) -> None:
        clipped = waveform.detach().float().cpu().clamp(-1.0, 1.0)
        self._writer.add_audio(name, clipped[None], step, sample_rate=self.sample_rate)

    def close(self) -> None:
        """Write buffered events."""
        if self._writer is not None:
            self._writer.close()


def mel_picture(target: Tensor, mel: Tensor) -> Tensor:
    """Two log-mels (M, F) as one grey picture (1, 2M + 2, F) in [0, 1], low bands at the bottom.

    Both share the target's range, so that a mel too loud or too faint looks so.
    """
    low, high = target.min(), target.max()
    span = (high - low).clamp(min=1e-6)
    # pictures have their first row at the top: flip the bands
    scaled = [((each - low) / span).clamp(0.0, 1.0).flip(0) for each in (target, mel)]
    line = torch.ones(2, target.shape[1], device=target.device)
    return torch.cat([scaled[0], line, scaled[1]]).float().cpu()[None]
