"""Running a training phase: progress, metrics, validation, checkpoints and exact resume."""

from __future__ import annotations

import json
import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from tqdm import tqdm

from .data import CodecData, CropBatches
from .model import HHCodec
from .phases import FitConfig, PhaseConfig
from .store import AudioStore
from .training import CodecTraining

CHECKPOINT, METRICS = "last.ckpt", "metrics.jsonl"


class MetricsFile(Callback):
    """Appends training and validation figures to metrics.jsonl, one JSON object a line."""

    def __init__(self, folder: Path, config: FitConfig) -> None:
        self.path = folder / METRICS
        self.config = config
        self._sums: dict[str, float] = {}
        self._count = 0
        self._since = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop lines from beyond the restored step, which will be written again."""
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if json.loads(line)["step"] <= trainer.global_step]
            self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Average the losses since the last line and write when it is time."""
        assert isinstance(pl_module, CodecTraining)
        for name, value in pl_module.last_losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        step = trainer.global_step
        last = step == trainer.max_steps
        if step % self.config.log_every == 0 or last:
            line = {name: total / self._count for name, total in self._sums.items()}
            line["seconds_per_step"] = (time.perf_counter() - self._since) / self._count
            self._append({"step": step, "split": "train", **line})
            self._sums, self._count, self._since = {}, 0, time.perf_counter()
        if step % self.config.validate_every == 0 or last:
            data = trainer.datamodule  # type: ignore[attr-defined]
            figures = pl_module.validate(data.valid_batch().to(pl_module.device))
            self._append({"step": step, "split": "valid", **figures})

    def _append(self, line: dict[str, Any]) -> None:
        rounded = {k: round(v, 6) if isinstance(v, float) else v for k, v in line.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rounded) + "\n")


class Checkpoint(Callback):
    """Saves the whole training state every so many steps; the file is replaced when whole."""

    def __init__(self, folder: Path, every: int) -> None:
        self.path = folder / CHECKPOINT
        self.every = every

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save when it is time or the phase ends."""
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            temporary = self.path.with_suffix(".tmp")
            trainer.save_checkpoint(temporary)
            os.replace(temporary, self.path)


class Progress(Callback):
    """A bar on standard error with the step, the speed and the losses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar at the restored step."""
        self.bar = tqdm(
            total=trainer.max_steps, initial=trainer.global_step, desc=self.name, mininterval=5
        )

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Advance."""
        assert isinstance(pl_module, CodecTraining)
        shown = {k: v for k, v in pl_module.last_losses.items() if k != "learning_rate"}
        self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        self.bar.update(1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self.bar.close()


def fit_codec_phase(
    codec: HHCodec,
    phase: PhaseConfig,
    train: AudioStore,
    valid: AudioStore,
    folder: Path,
    *,
    config: FitConfig,
) -> CodecTraining:
    """Train one phase to its last step, from its last checkpoint when there is one.

    A run that was killed and started again gives the weights of one that was not, bit for bit
    on a CPU: batches, noise and learning rate depend on seed and step alone.

    Args:
        codec: trained in place.
        phase: what to train.
        train: training clips at the codec's rate.
        valid: validation clips.
        folder: receives last.ckpt and metrics.jsonl.
        config: seed, precision, intervals.

    Returns:
        the trained module; its `codec` is in eval mode.

    Raises:
        ValueError: the stores have another sample rate than the codec, or a phase that cannot
            be trained.
        DivergedError: a loss is no longer a number.
    """
    for store in (train, valid):
        if store.sample_rate != codec.sample_rate:
            raise ValueError(
                f"{store.folder}: expected {codec.sample_rate} Hz, got {store.sample_rate}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    module = CodecTraining(codec, phase, config.seed)
    batches = CropBatches(
        train,
        phase.batch_size,
        phase.crop_codes * codec.hop_length,
        seed=config.seed,
        speed=phase.speed,
    )
    checkpoint = folder / CHECKPOINT
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loggers and worker counts
        trainer = Trainer(
            max_steps=phase.steps,
            max_epochs=-1,
            accelerator=config.accelerator,
            devices=1,
            precision=config.precision,  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[
                MetricsFile(folder, config),
                Checkpoint(folder, config.checkpoint_every),
                Progress(phase.name),
            ],
        )
        trainer.fit(
            module,
            datamodule=CodecData(batches, valid),
            ckpt_path=checkpoint if checkpoint.is_file() else None,
            weights_only=True,
        )
    codec.eval()
    return module


def load_phase_codec(codec: HHCodec, folder: Path, parts: tuple[str, ...]) -> None:
    """Copy the weights of some parts from a phase's checkpoint into a codec.

    Raises:
        ValueError: the folder has no checkpoint.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{folder}: no {CHECKPOINT}; train that phase first")
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    for part in parts:
        prefix = f"codec.{part}."
        weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        getattr(codec, part).load_state_dict(weights)
