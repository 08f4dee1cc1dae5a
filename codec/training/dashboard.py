"""Curves, mel pictures and audio of a codec's training: `codec.run_logs` of its validations."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from codec.run_logs import RunLogs, mel_picture

from .validation import Validation


class Dashboard:
    """Writer of a phase's metrics, and of mels and audio of its validations.

    Args:
        logs: Where they go.
        sample_rate: Of the audio, Hz.
        num_clips: Validation crops that are shown, the first ones.
    """

    def __init__(self, logs: RunLogs, sample_rate: int, num_clips: int = 3) -> None:
        self.logs = logs
        self.sample_rate = sample_rate
        self.num_clips = num_clips
        self._has_recordings = False

    def open(self, step: int) -> None:
        """Begin, or go on from a restored step."""
        self.logs.open(step)

    def scalars(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Add a point to the curve of every metric."""
        self.logs.scalars(step, {f"{split}/{name}": value for name, value in metrics.items()})

    def show(self, step: int, validation: Validation) -> None:
        """Add mels above one another, decoded below recorded, and the audio of both."""
        for clip in range(min(self.num_clips, len(validation.recordings))):
            picture = mel_picture(validation.target[clip], validation.mel[clip])
            self.logs.picture(step, f"mel/{clip}", picture)
            self._audio(step, f"decoded/{clip}", validation.waveforms[clip])
            if not self._has_recordings:
                self._audio(step, f"recorded/{clip}", validation.recordings[clip])
        self._has_recordings = True

    def close(self) -> None:
        """Write buffered events."""
        self.logs.close()

    def _audio(self, step: int, name: str, waveform: Tensor) -> None:
        self.logs.audio(step, name, waveform, self.sample_rate)
