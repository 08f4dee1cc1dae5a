"""Lightning callbacks: the metrics file with validation, checkpoints, and a progress bar."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from codec.files import whole_file
from codec.files.json_lines import append_json_line, keep_json_lines

from .checkpoint import CHECKPOINT, METRICS, note_checkpoint
from .config import FitConfig
from .diagnostics import DivergedError
from .module import CodecTraining
from .validation import Dashboard


class MetricsFile(Callback):
    """Writer of metrics.jsonl, one JSON object a line.

    Every line has `step` and `split`: "train" (means since the last such line, and use of the
    codebook in that window), "valid", "balance" (norms of every loss's gradient) or "notice". Of
    several processes all take part in the metrics, and one writes them. Checkpoints hold the state
    of this callback under the name of the class.

    Args:
        folder: Receives the file.
        config: Intervals.
        dashboard: Receives the same metrics, and the mels and audio of validations.
        writes: Whether this is the process that writes.
    """

    def __init__(
        self,
        folder: Path,
        config: FitConfig,
        dashboard: Dashboard | None = None,
        *,
        writes: bool = True,
    ) -> None:
        self.path = folder / METRICS
        self.config = config
        self.dashboard = dashboard
        self._writes = writes
        # The window: sums and numbers of values by metric, and the clock at its start.
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}
        self._since = time.perf_counter()
        self._notices: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """The window since the last line, so that a resumed run writes the same one."""
        sums = {name: float(total) for name, total in self._sums.items()}
        return {"sums": sums, "counts": dict(self._counts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the window."""
        self._sums, self._counts = dict(state_dict["sums"]), dict(state_dict["counts"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop lines from beyond the restored step, which will be written again."""
        if self._writes:
            keep_json_lines(self.path, lambda line: line["step"] <= trainer.global_step)
        if self.dashboard is not None:
            self.dashboard.open(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Add the step to the window and write the lines that are due."""
        assert isinstance(pl_module, CodecTraining)
        # Sums stay on the device until a line is due: reading a value makes the host wait.
        for name, value in pl_module.last_metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        step = trainer.global_step
        last = step == trainer.max_steps
        if pl_module.last_gradient_norms:
            self.append(step, "balance", pl_module.last_gradient_norms)
        if step % self.config.log_every == 0 or last:
            self._write_window(pl_module, step)
        if step % self.config.validate_every == 0 or last:
            self._validate(trainer, pl_module, step)

    def _write_window(self, module: CodecTraining, step: int) -> None:
        """Write the means since the last line and begin anew."""
        # A loss that began within the window is averaged over the steps that had it.
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        means |= module.codebook_use.statistics()
        seconds = time.perf_counter() - self._since
        means["seconds_per_step"] = seconds / max(self._counts.values())
        self.append(step, "train", means)
        self._sums, self._counts, self._since = {}, {}, time.perf_counter()
        module.codebook_use.reset()

    def _validate(self, trainer: Trainer, module: CodecTraining, step: int) -> None:
        """Validate on the fixed crops, and write the metrics."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        lengths = data.valid_lengths().to(module.device)
        # Weights first: what they give would hide that they are the cause.
        module.check_state(step)
        validation = module.validate(data.valid_batch().to(module.device), lengths)
        check_validation(validation.metrics, module.phase.name, step)
        for text in validation.notices:
            self.notice(step, text)
        self.append(step, "valid", validation.metrics)
        if self.dashboard is not None:
            self.dashboard.show(step, validation)

    def notice(self, step: int, text: str) -> None:
        """Log a notice and write it to the file, once."""
        if self._writes and text not in self._notices:
            logging.getLogger(__name__).warning(text)
            append_json_line(self.path, {"step": step, "split": "notice", "notice": text})
        self._notices.add(text)

    def append(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Write a line of metrics, rounded to six decimals; null for one that is not finite."""
        if self._writes:
            values = {k: round(v, 6) if math.isfinite(v) else None for k, v in metrics.items()}
            append_json_line(self.path, {"step": step, "split": split, **values})
        if self.dashboard is not None:
            self.dashboard.scalars(step, split, metrics)


def check_validation(metrics: Mapping[str, float], phase: str, step: int) -> None:
    """Refuse a validation that is not finite.

    Raises:
        DivergedError: Names the first metric that is not.
    """
    wrong = next((name for name, value in metrics.items() if not math.isfinite(value)), None)
    if wrong is not None:
        raise DivergedError(
            f"phase {phase}: expected a finite validation at step {step}, got {wrong} = "
            f"{metrics[wrong]} of finite weights; lower learning_rate and resume from the last "
            "checkpoint"
        )


class Checkpoint(Callback):
    """Saves the whole training state every so many steps; the file is replaced when whole.

    A state that is not finite is refused, and the last checkpoint stays.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.path = folder, folder / CHECKPOINT
        self.every = every

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save when due, and after the last step, also of a training that is asked to end."""
        assert isinstance(pl_module, CodecTraining)
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps or trainer.should_stop:
            pl_module.check_state(step)
            pl_module.codebook_use.gather()
            # All processes take part in saving; the first one alone writes.
            first = trainer.is_global_zero
            with whole_file(self.path) if first else nullcontext(self.path) as path:
                trainer.save_checkpoint(path)
            if first:
                note_checkpoint(self.folder, pl_module.described)
            trainer.strategy.barrier()


class Progress(Callback):
    """Progress bar on standard error: steps, time left, hours of crops; at intervals the losses.

    Args:
        name: Of the phase.
        every: Steps between losses.
        seconds: Of the crops of a step.
    """

    def __init__(self, name: str, every: int, seconds: float = 0.0) -> None:
        self.name = name
        self.every = every
        self.seconds = seconds
        self.bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the restored step."""
        self.bar = tqdm(
            total=trainer.max_steps,
            initial=trainer.global_step,
            desc=self.name,
            mininterval=5,
            unit="step",
            disable=not trainer.is_global_zero,
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Advance."""
        assert isinstance(pl_module, CodecTraining)
        if trainer.global_step % self.every == 0:
            shown = {k: v for k, v in pl_module.last_metrics.items() if k != "learning_rate"}
            hours = trainer.global_step * self.seconds / 3600
            losses = {k: f"{float(v):.3f}" for k, v in shown.items()}
            self.bar.set_postfix({"audio": f"{hours:.4g} h", **losses}, refresh=False)
        self.bar.update(1)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self.bar.close()
