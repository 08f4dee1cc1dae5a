"""Curves, pictures and audio of a training run, for TensorBoard and for Weights & Biases."""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from codec.files import write_text

from .requirements import install_command

TENSORBOARD, WANDB = "tensorboard", "wandb"


class RunLog(Protocol):
    """Writer of one kind of log; steps never go back."""

    def open(self, step: int) -> None:
        """Begin, or go on from a restored step."""
        ...

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of every value."""
        ...

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        """Add a grey picture (1, H, W) in [0, 1]."""
        ...

    def audio(self, step: int, name: str, waveform: Tensor, sample_rate: int) -> None:
        """Add a waveform (T,) in [-1, 1]."""
        ...

    def text(self, step: int, name: str, text: str) -> None:
        """Add a text."""
        ...

    def close(self) -> None:
        """Write what is buffered and end."""
        ...


class RunLogs:
    """All logs that a run was asked to write; none is one of them.

    Args:
        folder: Of the run; events of TensorBoard go to its `tensorboard`, runs of Weights & Biases
            to its `wandb`.
        tensorboard: Whether to write for TensorBoard, `tensorboard --logdir <run>`.
        wandb: Project of Weights & Biases; '' for none. Nothing is sent: `wandb sync` does that
            later, unless the variable WANDB_MODE is set to online.

    Raises:
        ValueError: A package is not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool, wandb: str = "") -> None:
        self._logs: list[RunLog] = []
        if tensorboard:
            self._logs.append(TensorBoardLog(folder / TENSORBOARD))
        if wandb:
            self._logs.append(WandbLog(folder, wandb))

    def __bool__(self) -> bool:
        """True where there is anything to write."""
        return bool(self._logs)

    def open(self, step: int) -> None:
        """Begin, or go on from a restored step."""
        for log in self._logs:
            log.open(step)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of every value."""
        for log in self._logs:
            log.scalars(step, values)

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        """Add a grey picture (1, H, W) in [0, 1]."""
        for log in self._logs:
            log.picture(step, name, picture)

    def audio(self, step: int, name: str, waveform: Tensor, sample_rate: int) -> None:
        """Add a waveform (T,); what lies beyond full scale is clipped."""
        clipped = waveform.detach().float().cpu().clamp(-1.0, 1.0)
        for log in self._logs:
            log.audio(step, name, clipped, sample_rate)

    def text(self, step: int, name: str, text: str) -> None:
        """Add a text."""
        for log in self._logs:
            log.text(step, name, text)

    def close(self) -> None:
        """Write what is buffered and end."""
        for log in self._logs:
            log.close()


class TensorBoardLog:
    """Writer of TensorBoard events; those beyond a restored step are purged.

    Raises:
        ValueError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._make: Any = importlib.import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise ValueError(
                f"tensorboard: expected the package tensorboard: {install_command(TENSORBOARD)}"
            ) from error
        self._folder = folder
        self._writer: Any = None

    def open(self, step: int) -> None:
        """See `RunLog`."""
        self._writer = self._make(str(self._folder), purge_step=step + 1 if step else None)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `RunLog`."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        """See `RunLog`."""
        self._writer.add_image(name, picture, step)
        self._writer.flush()

    def audio(self, step: int, name: str, waveform: Tensor, sample_rate: int) -> None:
        """See `RunLog`."""
        self._writer.add_audio(name, waveform[None], step, sample_rate=sample_rate)

    def text(self, step: int, name: str, text: str) -> None:
        """See `RunLog`."""
        self._writer.add_text(name, text, step)

    def close(self) -> None:
        """See `RunLog`."""
        if self._writer is not None:
            self._writer.close()


class WandbLog:
    """Writer of a run of Weights & Biases, offline unless WANDB_MODE says otherwise.

    A training that is continued writes a further offline run of the same id, kept in `wandb/id`.

    Raises:
        ValueError: The package is not installed.
    """

    def __init__(self, folder: Path, project: str) -> None:
        try:
            self._wandb: Any = importlib.import_module("wandb")
        except ImportError as error:
            raise ValueError(
                f"wandb: expected the package wandb: {install_command(WANDB)}"
            ) from error
        self._folder, self._project = folder, project
        self._run: Any = None

    def open(self, step: int) -> None:
        """See `RunLog`."""
        kept = self._folder / WANDB / "id"
        if not kept.is_file():
            write_text(kept, secrets.token_hex(4))
        self._run = self._wandb.init(
            project=self._project,
            id=kept.read_text(encoding="utf-8").strip(),
            name="/".join(self._folder.absolute().parts[-2:]),
            dir=str(self._folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            # Standard error is for this project's own lines, and the run's files stay here.
            settings=self._wandb.Settings(
                silent=True, console="off", disable_git=True, disable_code=True
            ),
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """See `RunLog`."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, picture: Tensor) -> None:
        """See `RunLog`."""
        # (H, W) of 8 bits
        grey = (picture[0].clamp(0.0, 1.0) * 255).round().to(torch.uint8).numpy()
        self._run.log({name: self._wandb.Image(grey)}, step=step)

    def audio(self, step: int, name: str, waveform: Tensor, sample_rate: int) -> None:
        """See `RunLog`."""
        sound = self._wandb.Audio(waveform.numpy(), sample_rate=sample_rate)
        self._run.log({name: sound}, step=step)

    def text(self, step: int, name: str, text: str) -> None:
        """See `RunLog`."""
        self._run.log({name: text}, step=step)

    def close(self) -> None:
        """See `RunLog`."""
        if self._run is not None:
            self._run.finish()


def mel_picture(*mels: Tensor) -> Tensor:
    """Log-mels (M, F) above one another as one grey picture in [0, 1], low bands at the bottom.

    All share the range of the first, so that a mel too loud or too faint looks so; they are padded
    to the longest. A white line of two rows is between them.
    """
    low, high = mels[0].min(), mels[0].max()
    span = (high - low).clamp(min=1e-6)
    width = max(mel.shape[1] for mel in mels)
    rows: list[Tensor] = []
    for mel in mels:
        # pictures have their first row at the top: flip the bands
        scaled = ((mel - low) / span).clamp(0.0, 1.0).flip(0)
        padded = torch.nn.functional.pad(scaled, (0, width - mel.shape[1]))
        rows += [torch.ones(2, width, device=mel.device), padded] if rows else [padded]
    return torch.cat(rows).float().cpu()[None]
