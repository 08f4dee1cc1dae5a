"""Training of the speech LM: step-indexed batches, atomic checkpoints, resume to the bit."""

import json
import logging
import math
import os
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from tqdm import tqdm

from .checkpoint import (
    CHECKPOINT_NAME,
    METRICS_NAME,
    drop_metrics_after,
    saved_step,
    saved_weights,
)
from .config import TrainingSettings
from .dataset import PackedBatch, PackedRows
from .model import SpeechLM
from .scoring import nats_per_code


def learning_rate(step: int, settings: TrainingSettings) -> float:
    """Rate of optimizer step `step` (from 0): linear warm-up, then a cosine to the minimum."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    progress = (step - settings.warmup_steps) / max(1, settings.max_steps - settings.warmup_steps)
    span = settings.learning_rate - settings.min_learning_rate
    return settings.min_learning_rate + span * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class SpeechLMTraining(lightning.LightningModule):
    """Next-token training of a `SpeechLM` on packed batches.

    Args:
        lm: The model, trained in place.
        settings: Schedule, optimizer and seeds.
    """

    def __init__(self, lm: SpeechLM, settings: TrainingSettings) -> None:
        super().__init__()
        self.lm = lm
        self.settings = settings

    def training_step(self, batch: PackedBatch, batch_idx: int) -> Tensor:
        """Loss of one batch, nats a token, float32."""
        # Dropout of a batch depends on its number alone, so a resumed run draws the same.
        torch.manual_seed(self.settings.seed * 1_000_003 + batch_idx)
        return self.lm.loss(
            batch.tokens,
            batch.loss_weights,
            positions=batch.positions,
            document_ids=batch.document_ids,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW that decays matrices only."""
        embedding = self.lm.embedding.weight
        decayed, kept = [], []
        for parameter in self.lm.parameters():
            is_matrix = parameter.ndim >= 2 and parameter is not embedding
            (decayed if is_matrix else kept).append(parameter)
        groups = [
            {"params": decayed, "weight_decay": self.settings.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups, lr=self.settings.learning_rate, betas=self.settings.betas, eps=1e-8
        )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the rate of the step about to be made; it depends on the step alone."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.global_step, self.settings)


class _Batches:
    """Batches `start`, `start` + 1, ... `stop` - 1 of the stream.

    Lightning asks a loader that can continue for its state; ours needs none, because the place in
    the stream is the number of the batch.
    """

    def __init__(self, rows: PackedRows, start: int, stop: int) -> None:
        self._rows, self._start, self._stop = rows, start, stop

    def __iter__(self) -> Iterator[PackedBatch]:
        return (self._rows.batch(index) for index in range(self._start, self._stop))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        del state_dict


class _Monitor(lightning.Callback):
    """Progress bar, metrics.jsonl, validation and checkpoints, all at optimizer steps."""

    def __init__(
        self,
        settings: TrainingSettings,
        folder: Path,
        start_step: int,
        validation: list[PackedBatch],
        progress: bool,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._step = start_step
        self._validation = validation
        self._bar = tqdm(
            total=settings.max_steps,
            initial=start_step,
            desc="train slm",
            unit="step",
            disable=not progress,
        )
        self._losses: list[Tensor] = []
        self._tokens = 0
        self._since = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """After the last batch of an optimizer step: log, and when due validate and save."""
        assert isinstance(pl_module, SpeechLMTraining)
        self._losses.append(outputs["loss"].detach())
        self._tokens += int((batch.document_ids >= 0).sum())
        if trainer.global_step == self._step:
            return  # still accumulating
        self._step = trainer.global_step
        metrics = self._step_metrics()
        last = self._step == self._settings.max_steps
        if self._validation and (last or self._step % self._settings.validate_every == 0):
            metrics["valid_nats_per_code"] = nats_per_code(pl_module.lm, self._validation)
            self._since = time.perf_counter()
        self._bar.set_postfix(
            loss=f"{metrics['loss']:.3f}",
            tokens_per_second=f"{metrics['tokens_per_second']:.0f}",
            refresh=False,
        )
        self._bar.update(1)
        with open(self._folder / METRICS_NAME, "a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
        if last or self._step % self._settings.checkpoint_every == 0:
            self._save(trainer)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: Any
    ) -> None:
        """Leave the terminal in order."""
        self._bar.close()

    def on_train_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Leave the terminal in order."""
        self._bar.close()

    def _step_metrics(self) -> dict[str, Any]:
        now = time.perf_counter()
        # Lightning has divided each by the number of batches accumulated: their sum is the mean.
        loss = float(torch.stack(self._losses).sum())
        if not math.isfinite(loss):
            raise ValueError(
                f"expected a finite loss, got {loss} at step {self._step}; "
                "lower learning_rate and start again from the last checkpoint"
            )
        metrics = {
            "step": self._step,
            "loss": loss,
            "lr": learning_rate(self._step - 1, self._settings),
            "tokens_per_second": self._tokens / max(1e-9, now - self._since),
        }
        self._losses, self._tokens, self._since = [], 0, now
        return metrics

    def _save(self, trainer: lightning.Trainer) -> None:
        """Checkpoint under a temporary name, then rename: `last.ckpt` is always whole."""
        path = self._folder / CHECKPOINT_NAME
        partial = path.with_name(f".{path.name}.partial")
        try:
            trainer.save_checkpoint(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        self._since = time.perf_counter()


def fit_speech_lm(
    lm: SpeechLM,
    rows: PackedRows,
    folder: Path | str,
    *,
    settings: TrainingSettings,
    validation: Iterable[PackedBatch] = (),
    accelerator: str = "auto",
    progress: bool = True,
) -> SpeechLM:
    """Train `lm` in place, continuing from `folder`/last.ckpt when there is one.

    On one device the outcome does not depend on how often the run was cut off; on the CPU it is
    the same to the bit for the same number of threads.

    Args:
        lm: The model.
        rows: Training rows; batch n is the n-th the run reads.
        folder: Gets last.ckpt and metrics.jsonl (step, loss, lr, tokens_per_second, and
            valid_nats_per_code where it was measured).
        settings: Schedule, optimizer and seeds.
        validation: Batches to validate on, usually `PackedRows.epoch_batches()` of settings
            without augmentation.
        accelerator: Lightning's name of the device kind.
        progress: Show a bar on stderr.

    Returns:
        `lm`, in eval mode.

    Raises:
        ValueError: The rows do not fit the model, the checkpoint is of another model or beyond
            `max_steps`, or the loss is not finite.
    """
    _check_rows(lm, rows)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT_NAME
    start_step = saved_step(checkpoint, lm, settings.max_steps)
    drop_metrics_after(folder / METRICS_NAME, start_step)
    if start_step == settings.max_steps:
        lm.load_state_dict(saved_weights(checkpoint))
        return lm.eval()
    monitor = _Monitor(settings, folder, start_step, list(validation), progress)
    trainer = _quiet_trainer(settings, monitor, accelerator)
    batches = _Batches(
        rows, start_step * settings.accumulate, settings.max_steps * settings.accumulate
    )
    with warnings.catch_warnings():
        # Lightning 2.6 asks torch's tree utilities in a way torch 2.13 calls deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        trainer.fit(
            SpeechLMTraining(lm.train(), settings),
            train_dataloaders=batches,
            ckpt_path=checkpoint if start_step else None,
            weights_only=True,
        )
    return lm.to("cpu").eval()


def _quiet_trainer(
    settings: TrainingSettings, monitor: _Monitor, accelerator: str
) -> lightning.Trainer:
    """A trainer that prints nothing and writes nothing of its own."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return lightning.Trainer(
        accelerator=accelerator,
        devices=1,
        precision="bf16-mixed" if settings.bf16 else "32-true",
        max_steps=settings.max_steps,
        max_epochs=-1,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip,
        callbacks=[monitor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _check_rows(lm: SpeechLM, rows: PackedRows) -> None:
    if rows.vocabulary != lm.vocabulary:
        raise ValueError(
            f"expected rows in the model's vocabulary {lm.vocabulary}, got {rows.vocabulary}"
        )
    if rows.seq_len > lm.config.max_seq_len:
        raise ValueError(
            f"expected rows of at most max_seq_len = {lm.config.max_seq_len} tokens, "
            f"got {rows.seq_len}"
        )
