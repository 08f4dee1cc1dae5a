"""Curves of a training run for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from codec.requirements import install_command


class Curves:
    """Writer of TensorBoard events into a run's folder, for `tensorboard --logdir <run>`.

    Args:
        folder: Of the run; the events lie in its `tensorboard`.
        start_step: Steps made before; events beyond are purged.

    Raises:
        ValueError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, start_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                f"tensorboard: expected the package tensorboard: {install_command('tensorboard')}"
            ) from error
        purged = start_step + 1 if start_step else None
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=purged)

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add a point to the curve of every metric, at its `step`."""
        step = int(metrics["step"])
        for name, value in metrics.items():
            if name == "step":
                continue
            # What is measured on other rows than the step's stands apart.
            split = "valid" if name.startswith("valid_") else "train"
            self._writer.add_scalar(f"{split}/{name.removeprefix('valid_')}", value, step)

    def close(self) -> None:
        """Write buffered events."""
        self._writer.close()
