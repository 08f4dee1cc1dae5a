"""Progress, metrics, validation and checkpoints of a training run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from tqdm import tqdm

from codec.distributed import process_rank
from codec.files import whole_file
from codec.files.json_lines import append_json_line
from codec.run_logs import RunLogs
from codec.runtime.finite import first_not_finite, optimizer_tensors
from slm.data.packed_batch import PackedBatch
from slm.data.transcription_probe import TEXT_NAME
from slm.model.likelihood import CODE, TEXT_TOKEN, NatsTotal, code_nats, text_nats

from .checkpoint import CHECKPOINT_NAME, METRICS_NAME
from .config import TrainingSettings
from .curves import Curves, SpokenSample, spoken_metrics
from .flops import counted_flops, measured_peak_flops, peak_flops
from .microbatches import MicroBatch
from .optimizers import learning_rate

# Figure of the validation batches where nothing else is said.
VALID_NAME = "valid_nats_per_code"
# Speaks with a model as it is at a step, and leaves the model alone.
Speak = Callable[[Any, int], Sequence[SpokenSample]]


class Monitor(Callback):
    """Progress bar, metrics.jsonl, validation and checkpoints, all at optimizer steps.

    The module it watches has the language model as `lm` and the last `gradient_norm`.

    Args:
        settings: With the steps between validations and between checkpoints.
        folder: Of the files, which the first process writes.
        start_step: Steps made before.
        validation: Batches to validate on, by the name of their figure.
        progress: Show a bar on stderr.
        speak: Called by the first process at every validation; None for no samples.

    Raises:
        ValueError: The package of a log that was asked for is not installed.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        folder: Path,
        start_step: int,
        validation: Mapping[str, Sequence[PackedBatch]],
        progress: bool,
        speak: Speak | None = None,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._speak = speak
        self._step = self._start_step = start_step
        self._validation = {name: each for name, each in validation.items() if each}
        self._bar = tqdm(
            total=settings.max_steps,
            initial=start_step,
            desc="train slm",
            unit="step",
            disable=not progress or process_rank() > 0,
        )
        logs = RunLogs(folder, tensorboard=settings.tensorboard, wandb=settings.wandb)
        self._curves = Curves(logs) if logs and process_rank() == 0 else None
        self._losses: list[Tensor] = []
        self._tokens = 0
        # Codes read since the start, on the device: reading them would wait for it.
        self._codes: list[Tensor] = []
        self._codes_read = 0.0
        self._flops = 0.0
        self._peak = float("inf")
        self._since = time.perf_counter()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the peak rate of the device, and begin the curves."""
        if self._curves is not None:
            self._curves.open(self._step)
        device, bf16 = pl_module.device, bool(self._settings.bf16)
        dtype = torch.bfloat16 if bf16 else torch.float32
        self._peak = peak_flops(device, bf16) or measured_peak_flops(device, dtype)
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After the last batch of an optimizer step: log, and when due validate and save."""
        lm: Any = pl_module.lm
        # Detached and not read: reading a value would wait for the device at every batch.
        self._losses.append(outputs["loss"].detach())
        self._tokens += batch.counts.tokens
        self._codes.append((batch.batch.tokens >= lm.vocabulary.code_start).sum())
        self._flops += counted_flops(lm.config, batch.counts)
        if trainer.global_step == self._step:
            return  # still accumulating
        self._step = trainer.global_step
        metrics = self._step_metrics(trainer, pl_module, batch)
        last = self._step == self._settings.max_steps
        validates = last or self._step % self._settings.validate_every == 0
        # The first step's shows early that it can be written, and lets a run that is cut off soon
        # go on; where there is none, metrics of later steps mean that a checkpoint was lost.
        saves = last or self._step == 1 or self._step % self._settings.checkpoint_every == 0
        saves |= trainer.should_stop  # asked to end
        # Before anything of the step is written, and before what the weights give is looked at.
        if saves or validates:
            self._check_state(trainer, pl_module)
        if self._validation and validates:
            metrics |= {
                name: self._validated(trainer, pl_module, name) for name in self._validation
            }
        if validates and self._speak is not None and trainer.is_global_zero:
            metrics |= self._spoken(lm, self._speak)
        if validates:
            # Validation's time is no training time: the clock starts anew after it.
            self._since = time.perf_counter()
        if trainer.is_global_zero:
            self._show(metrics, lm.config.frame_rate)
        if saves:
            self._save(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        """Leave the terminal and the events in order."""
        self._close()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the terminal and the events in order."""
        self._close()

    def _close(self) -> None:
        self._bar.close()
        if self._curves is not None:
            self._curves.close()

    def _step_metrics(
        self, trainer: Trainer, module: LightningModule, batch: MicroBatch
    ) -> dict[str, Any]:
        """Figures of the step over all processes; `batch` is the last one it read."""
        # Lightning has divided each by the number of batches accumulated: their sum is the mean.
        loss = torch.stack(self._losses).sum().double()
        # One exchange for all three figures.
        counts = loss.new_tensor([self._tokens, self._flops])
        codes = torch.stack(self._codes).sum().to(loss)
        figures = torch.cat([loss[None], counts, codes[None]])
        figures = trainer.strategy.reduce(figures, reduce_op="sum")
        assert isinstance(figures, Tensor)
        gradient_norm: Any = module.gradient_norm
        # Here, and nowhere else in a step, this process waits for its device.
        values = torch.cat([figures, gradient_norm.to(figures)[None]]).tolist()
        total, tokens, flops, codes_read, norm = values
        now = time.perf_counter()
        mean = total / trainer.world_size
        # Before anything is written: metrics and checkpoints hold finite steps only.
        self._check_step({"loss": mean, "gradient_norm": norm}, batch)
        seconds = max(1e-9, now - self._since)
        metrics = {
            "step": self._step,
            "loss": mean,
            "lr": learning_rate(self._step - 1, self._settings),
            "gradient_norm": norm,
            "tokens_per_second": tokens / seconds,
            "mfu": flops / (seconds * self._peak * trainer.world_size),
        }
        self._losses, self._tokens, self._flops, self._since = [], 0, 0.0, now
        self._codes = []
        self._codes_read += codes_read
        return metrics

    def _check_step(self, values: Mapping[str, float], batch: MicroBatch) -> None:
        """Refuse a step with a loss or gradient that is not finite, and say why.

        Raises:
            ValueError: Names the first that is not.
        """
        wrong = next((name for name, each in values.items() if not math.isfinite(each)), None)
        if wrong is None:
            return
        advice = "lower learning_rate and start again from the last checkpoint"
        weights = batch.batch.loss_weights
        if not weights.isfinite().all() or not batch.total_weight > 0:
            cause = "the batch itself has loss weights that are not finite, or none above 0"
            advice = "mend the rows and start again from the last checkpoint"
        elif wrong == "loss":
            cause = "the batch is finite"
        else:
            cause = f"the loss is finite, {values['loss']}"
        got = f"{values[wrong]} at step {self._step}"
        raise ValueError(f"expected a finite {wrong}, got {got}; {cause}; {advice}")

    def _check_state(self, trainer: Trainer, module: LightningModule) -> None:
        """Refuse weights or moments that are not finite, in every process alike.

        Raises:
            ValueError: Names the first of them in this process.
        """
        tensors = [*module.state_dict(keep_vars=True).items()]
        wrong = first_not_finite([*tensors, *optimizer_tensors(trainer.optimizers)])
        # Of sharded weights one process alone may have them.
        found = torch.tensor(float(wrong is not None), device=module.device)
        if trainer.strategy.reduce(found, reduce_op="sum") > 0:
            raise ValueError(
                f"expected finite weights after step {self._step}, got others in "
                f"{wrong or 'another process'}; nothing of the step was saved: lower learning_rate "
                "and start again from the last checkpoint"
            )

    def _validated(self, trainer: Trainer, module: LightningModule, name: str) -> float:
        """Likelihood of the validation batches of a figure, nats a code or text token.

        Processes with the whole model each measure some batches. A GPU multiplies in the precision
        of the training, since validation in float32 would take many times as long as its steps.

        Raises:
            ValueError: It is not finite.
        """
        lm: Any = module.lm
        of_text = name == TEXT_NAME
        batches, device = self._validation[name], module.device
        shares = not module.sharded  # every process of sharded weights has to take part in each
        if shares:
            batches = batches[trainer.global_rank :: trainer.world_size]
        bf16 = bool(self._settings.bf16) and device.type == "cuda"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            total = (text_nats if of_text else code_nats)(lm, batches)
        if shares:
            parts = torch.tensor([total.nats, total.tokens], dtype=torch.float64, device=device)
            parts = trainer.strategy.reduce(parts, reduce_op="sum")
            assert isinstance(parts, Tensor)
            total = NatsTotal(float(parts[0]), int(parts[1]))
        nats = total.mean(TEXT_TOKEN if of_text else CODE)
        if not math.isfinite(nats):
            raise ValueError(
                f"expected a finite {name}, got {nats} of finite weights at step "
                f"{self._step}; lower learning_rate and start again from the last checkpoint"
            )
        return nats

    def _spoken(self, lm: Any, speak: Speak) -> dict[str, float]:
        """Speak the samples and show them; returns their metrics."""
        samples = speak(lm, self._step)
        if self._curves is not None:
            self._curves.show(self._step, samples)
        return spoken_metrics(samples)

    def _show(self, metrics: dict[str, Any], frame_rate: float) -> None:
        # Of the steps before a restart those since tell, on average.
        share = self._step / (self._step - self._start_step)
        hours = self._codes_read * share / frame_rate / 3600
        self._bar.set_postfix(
            loss=f"{metrics['loss']:.3f}",
            speech=f"{hours:.4g} h",
            tokens_per_second=f"{metrics['tokens_per_second']:.0f}",
            refresh=False,
        )
        self._bar.update(1)
        append_json_line(self._folder / METRICS_NAME, metrics)
        if self._curves is not None:
            self._curves.add(metrics)

    def _save(self, trainer: Trainer) -> None:
        """Replace `last.ckpt`, which is always whole; the first process writes it."""
        path = self._folder / CHECKPOINT_NAME
        if trainer.is_global_zero:
            with whole_file(path) as partial:
                trainer.save_checkpoint(partial)
        else:
            trainer.save_checkpoint(path)  # gives its part of sharded weights, and writes nothing
        trainer.strategy.barrier()
        self._since = time.perf_counter()
