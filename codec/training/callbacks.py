"""What happens around a training step: metrics, validation, checkpoints, a progress bar."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from .config import FitConfig
from .module import CodecTraining
from .tensorboard import Dashboard

CHECKPOINT, METRICS = "last.ckpt", "metrics.jsonl"


class MetricsFile(Callback):
    """Appends figures to metrics.jsonl, one JSON object a line.

    Every line has `step` and `split`: "train" (means since the last such line, and use of the
    codebook in that window), "valid", "balance" (norms of every term's gradient) or "notice". Of
    several processes all take part in the figures, and one writes them.

    Args:
        folder: receives the file.
        config: intervals.
        dashboard: shown the same figures, and what validation made.
        writes: whether this is the process that does.
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
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}
        self._said: set[str] = set()
        self._since = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        """The window since the last line, so that a resumed run writes the same one."""
        sums = {name: float(total) for name, total in self._sums.items()}
        return {"sums": sums, "counts": dict(self._counts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the window up again."""
        self._sums, self._counts = dict(state_dict["sums"]), dict(state_dict["counts"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop lines from beyond the restored step, which will be written again."""
        if self._writes and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
            whole = [line for line in lines if line.endswith("\n")]  # a kill can tear the last
            kept = [line for line in whole if json.loads(line)["step"] <= trainer.global_step]
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text("".join(kept), encoding="utf-8")
            os.replace(temporary, self.path)
        if self.dashboard is not None:
            self.dashboard.open(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Add the step to the window and write what is due."""
        assert isinstance(pl_module, CodecTraining)
        for name, value in pl_module.last_figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        step = trainer.global_step
        last = step == trainer.max_steps
        if pl_module.last_balance:
            self.append(step, "balance", pl_module.last_balance)
        if step % self.config.log_every == 0 or last:
            self._write_window(pl_module, step)
        if step % self.config.validate_every == 0 or last:
            self._write_validation(trainer, pl_module, step)

    def _write_window(self, module: CodecTraining, step: int) -> None:
        """Write the means since the last line and begin anew."""
        line = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        line |= module.codebook_use.figures()
        steps = max(self._counts.values())
        line["seconds_per_step"] = (time.perf_counter() - self._since) / steps
        self.append(step, "train", line)
        self._sums, self._counts, self._since = {}, {}, time.perf_counter()
        module.codebook_use.reset()

    def _write_validation(self, trainer: Trainer, module: CodecTraining, step: int) -> None:
        """Validate on the fixed crops."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        lengths = data.valid_lengths().to(module.device)
        found = module.validate(data.valid_batch().to(module.device), lengths)
        for text in found.notices:
            self.notice(step, text)
        self.append(step, "valid", found.figures)
        if self.dashboard is not None:
            self.dashboard.show(step, found)

    def notice(self, step: int, text: str) -> None:
        """Say something once, in the log and in the file."""
        if text in self._said:
            return
        self._said.add(text)
        if self._writes:
            logging.getLogger(__name__).warning(text)
        self._write({"step": step, "split": "notice", "notice": text})

    def append(self, step: int, split: str, figures: dict[str, float]) -> None:
        """Write a line of figures."""
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in figures.items()}
        self._write({"step": step, "split": split, **rounded})
        if self.dashboard is not None:
            self.dashboard.figures(step, split, figures)

    def _write(self, line: dict[str, Any]) -> None:
        if not self._writes:
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class Checkpoint(Callback):
    """Saves the whole training state every so many steps; the file is replaced when whole."""

    def __init__(self, folder: Path, every: int) -> None:
        self.path = folder / CHECKPOINT
        self.every = every

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save when it is time or the phase ends."""
        assert isinstance(pl_module, CodecTraining)
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            temporary = self.path.with_suffix(".tmp")
            pl_module.codebook_use.gather()
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                os.replace(temporary, self.path)
            trainer.strategy.barrier()


class Progress(Callback):
    """A bar on standard error with the step, the speed and, now and then, the losses."""

    def __init__(self, name: str, every: int) -> None:
        self.name = name
        self.every = every
        self.bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the restored step."""
        self.bar = tqdm(
            total=trainer.max_steps,
            initial=trainer.global_step,
            desc=self.name,
            mininterval=5,
            disable=not trainer.is_global_zero,
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Advance."""
        assert isinstance(pl_module, CodecTraining)
        if trainer.global_step % self.every == 0:
            shown = {k: v for k, v in pl_module.last_figures.items() if k != "learning_rate"}
            self.bar.set_postfix({k: f"{float(v):.3f}" for k, v in shown.items()}, refresh=False)
        self.bar.update(1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self.bar.close()
