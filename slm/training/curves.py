"""Curves and spoken samples of a language model's training, for TensorBoard and W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.run_logs import RunLogs, mel_picture


@dataclass(frozen=True)
class SpokenSample:
    """A text that a language model in training has spoken.

    Attributes:
        name: Of the sample, the same at every validation.
        text: As it was spoken.
        waveform: (T,) float32; empty where the model ended at once.
        sample_rate: Hz.
        mel: (M, F) log-mel of the waveform; None where it is empty.
        word_error_rate: By a recogniser; None where none was configured.
    """

    name: str
    text: str
    waveform: NDArray[np.float32]
    sample_rate: int
    mel: Tensor | None = None
    word_error_rate: float | None = None

    @property
    def seconds(self) -> float:
        """Length."""
        return round(len(self.waveform) / self.sample_rate, 3)


def spoken_metrics(samples: Sequence[SpokenSample]) -> dict[str, float]:
    """Compute the mean word error rate of samples; {} where no recogniser looked at them."""
    rates = [each.word_error_rate for each in samples if each.word_error_rate is not None]
    return {"valid_spoken_wer": sum(rates) / len(rates)} if rates else {}


class Curves:
    """Writer of a run's metrics as curves, and of samples with their mels.

    Args:
        logs: Where they go.
    """

    def __init__(self, logs: RunLogs) -> None:
        self._logs = logs

    def open(self, start_step: int) -> None:
        """Begin after the steps that were made before."""
        self._logs.open(start_step)

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add a point to the curve of every metric, at its `step`."""
        points: dict[str, float] = {}
        for name, value in metrics.items():
            # What is measured on other rows than the step's stands apart.
            split = "valid" if name.startswith("valid_") else "train"
            if name != "step":
                points[f"{split}/{name.removeprefix('valid_')}"] = value
        self._logs.scalars(int(metrics["step"]), points)

    def show(self, step: int, samples: Sequence[SpokenSample]) -> None:
        """Add the texts, sounds and mels of samples."""
        for each in samples:
            self._logs.text(step, f"spoken/{each.name}/text", each.text)
            if each.mel is not None:
                self._logs.picture(step, f"spoken/{each.name}/mel", mel_picture(each.mel))
                # No sound where there is no mel: the model ended at once.
                waveform = torch.from_numpy(each.waveform)
                self._logs.audio(step, f"spoken/{each.name}", waveform, each.sample_rate)

    def close(self) -> None:
        """Write buffered events."""
        self._logs.close()
