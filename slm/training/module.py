"""Training of the speech LM: step-indexed batches, atomic checkpoints, resume to the bit."""

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor

from slm.data.packed_dataset import PackedBatch, PackedRows
from slm.data.provenance import ROW_COUNTS, STREAM, describe_stream
from slm.model.code_embeddings import plain_weight
from slm.model.config import Machines, TrainingSettings
from slm.model.speech_lm import SpeechLM

from .callbacks import Monitor
from .checkpoint import (
    CHECKPOINT_NAME,
    METRICS_NAME,
    checkpoint_to_resume,
    describe_model,
    drop_metrics_after,
    number_by_module,
    saved_row_counts,
    saved_step,
    saved_weights,
    set_batches_read,
)
from .flops import gradient_norm
from .microbatches import Share, Shares, local_accumulate, process_rank
from .optimizers import learning_rate, new_optimizer


class SpeechLMTraining(lightning.LightningModule):
    """Next-token training of a `SpeechLM` on packed batches.

    Args:
        lm: The model, trained in place.
        settings: Schedule, optimizer and seeds.
        rows: What it trains on, which checkpoints then describe.
        shares_per_step: Shares of an optimizer step that this process works off.
        sharded: Spread the model over the processes (Lightning's model-parallel strategy).

    Attributes:
        gradient_norm: Of the last optimizer step, before clipping; float32 scalar.
    """

    def __init__(
        self,
        lm: SpeechLM,
        settings: TrainingSettings,
        *,
        rows: PackedRows | None = None,
        shares_per_step: int = 1,
        sharded: bool = False,
    ) -> None:
        super().__init__()
        self.lm = lm
        self.settings = settings
        self.gradient_norm = torch.zeros(())
        self.rows = rows
        self._shares_per_step = shares_per_step
        self._sharded = sharded

    def configure_model(self) -> None:
        """Spread every block, and what is left as one more unit, over the processes."""
        from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

        if not self._sharded or isinstance(self.lm, FSDPModule):
            return
        assert self.device_mesh is not None
        mesh = self.device_mesh["data_parallel"]
        for block in self.lm.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(self.lm, mesh=mesh)
        for name in ("loss", "token_nll"):
            register_fsdp_forward_method(self.lm, name)

    def training_step(self, batch: Share, batch_idx: int) -> Tensor:
        """Loss of one share, nats a token, float32."""
        # Dropout depends on the batch's number alone, so a resumed run draws the same.
        torch.manual_seed(self.settings.seed * 1_000_003 + batch.number)
        rows = batch.batch
        return self.lm.loss(
            rows.tokens,
            rows.loss_weights,
            positions=rows.positions,
            document_ids=rows.document_ids,
            total_weight=batch.total_weight,
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer of the settings."""
        embedding, head = plain_weight(self.lm.embedding), plain_weight(self.lm.head)
        return new_optimizer(self.lm, embedding, head, self.settings)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Measure and clip the gradient; set the rate, which depends on the step alone."""
        self.gradient_norm = gradient_norm(self.lm.parameters())
        torch.nn.utils.clip_grads_with_norm_(
            self.lm.parameters(), self.settings.gradient_clip, self.gradient_norm
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.global_step, self.settings)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say whose weights these are, and number them as any number of processes can read."""
        checkpoint.update(describe_model(self.lm.config))
        if self.rows is not None:
            checkpoint[STREAM] = describe_stream(self.rows.describe(), self.settings)
            checkpoint[ROW_COUNTS] = self.rows.row_counts
        if self._sharded:
            return
        checkpoint["optimizer_states"] = [
            number_by_module(state, optimizer.param_groups, self.lm.parameters())
            for state, optimizer in zip(
                checkpoint["optimizer_states"], self.trainer.optimizers, strict=True
            )
        ]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count batches as this number of processes would have read them."""
        set_batches_read(checkpoint, self._shares_per_step)


def fit_speech_lm(
    lm: SpeechLM,
    rows: PackedRows,
    folder: Path | str,
    *,
    settings: TrainingSettings,
    validation: Iterable[PackedBatch] = (),
    resume_from: Path | str | None = None,
    accelerator: str = "auto",
    machines: Machines | None = None,
    progress: bool = True,
) -> SpeechLM:
    """Train `lm` in place, continuing from `folder`/last.ckpt when there is one.

    On one device the outcome does not depend on how often the run was cut off; on the CPU it is
    the same to the bit for the same number of threads. Over several devices each step reads the
    same rows as on one, and a checkpoint continues on any number of them; dropout of a batch whose
    rows are shared out is drawn for each share.

    Args:
        lm: The model.
        rows: Training rows; batch n is the n-th the run reads.
        folder: Gets last.ckpt and metrics.jsonl (step, loss, lr, gradient_norm before clipping,
            tokens_per_second without padding, mfu, and valid_nats_per_code where it was measured).
            Checkpoints are written after the first step, then as the settings say.
        settings: Schedule, optimizer and seeds.
        validation: Batches to validate on, usually `PackedRows.epoch_batches()` of settings
            without augmentation.
        resume_from: Checkpoint that a folder without last.ckpt goes on from; the folder's own goes
            first, so that the same call continues a run that was cut off once more.
        accelerator: Lightning's name of the device kind, used without `machines`.
        machines: Devices, nodes and strategy; one device when None.
        progress: Show a bar on stderr.

    Returns:
        `lm`, in eval mode.

    Raises:
        ValueError: The rows do not fit the model; the checkpoint is of another model, trained on
            other batches or beyond `max_steps`; `resume_from` is not there; the folder has the
            metrics of steps and no checkpoint; a step cannot be shared among the devices; the
            settings do not go together; or the loss is not finite.
    """
    machines = machines or Machines(accelerator)
    _check_rows(lm, rows)
    _check_settings(settings, machines)
    shares = local_accumulate(
        settings.accumulate, rows.batch_size, machines.devices * machines.num_nodes
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = checkpoint_to_resume(folder, Path(resume_from) if resume_from else None)
    stream = describe_stream(rows.describe(), settings)
    start_step = saved_step(checkpoint, lm, stream, settings.max_steps)
    if checkpoint is not None:
        rows.know_row_counts(saved_row_counts(checkpoint))
    if process_rank() == 0:
        drop_metrics_after(folder / METRICS_NAME, start_step)
    if start_step < settings.max_steps:
        sharded = machines.strategy == "fsdp"
        # Sharding replaces parameters, and the caller's model shall keep its own.
        monitor = Monitor(settings, folder, start_step, list(validation), progress)
        trainer = _quiet_trainer(settings, monitor, machines, shares)
        with _prepared(copy.deepcopy(lm) if sharded else lm, settings) as trained:
            module = SpeechLMTraining(
                trained, settings, rows=rows, shares_per_step=shares, sharded=sharded
            )
            _fit(trainer, module, start_step, checkpoint)
        checkpoint = folder / CHECKPOINT_NAME
    lm.to("cpu")
    if start_step == settings.max_steps or machines.strategy == "fsdp":
        assert checkpoint is not None
        lm.load_state_dict(saved_weights(checkpoint))
    return lm.eval()


def _fit(
    trainer: lightning.Trainer, module: SpeechLMTraining, start_step: int, checkpoint: Path | None
) -> None:
    settings, rows = module.settings, module.rows
    assert rows is not None
    batches = Shares(
        rows,
        settings.accumulate,
        start_step=start_step,
        stop_step=settings.max_steps,
        pinned=isinstance(trainer.accelerator, CUDAAccelerator),
    )
    with warnings.catch_warnings(), closing(batches):
        # Lightning 2.6 asks torch's tree utilities in a way torch 2.13 calls deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        trainer.fit(module, train_dataloaders=batches, ckpt_path=checkpoint, weights_only=True)


@contextmanager
def _prepared(lm: SpeechLM, settings: TrainingSettings) -> Iterator[SpeechLM]:
    """The model in training mode, with what the settings say of how it runs until the end."""
    lm.attention_kernel = settings.attention
    lm.recompute_activations(settings.recompute)
    if settings.compile:
        lm.compile_training()
    try:
        yield lm.train()
    finally:
        lm.compiled, lm.attention_kernel = None, "auto"
        lm.recompute_activations(False)


def _quiet_trainer(
    settings: TrainingSettings, monitor: Monitor, machines: Machines, shares: int
) -> lightning.Trainer:
    """A trainer that prints nothing and writes nothing of its own."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return lightning.Trainer(
        accelerator=machines.accelerator,
        devices=machines.devices,
        num_nodes=machines.num_nodes,
        strategy=_strategy(machines),
        precision="bf16-mixed" if settings.bf16 else "32-true",
        max_steps=settings.max_steps,
        max_epochs=-1,
        accumulate_grad_batches=shares,
        callbacks=[monitor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def _strategy(machines: Machines) -> str | Strategy:
    processes = machines.devices * machines.num_nodes
    if machines.strategy == "fsdp":
        # One file for the whole checkpoint, so that it loads at any number of processes.
        return ModelParallelStrategy(
            data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    if machines.strategy == "ddp" or processes > 1:
        return DDPStrategy(gradient_as_bucket_view=True)
    return "auto"


def _check_settings(settings: TrainingSettings, machines: Machines) -> None:
    if machines.strategy == "fsdp" and settings.optimizer == "muon":
        raise ValueError("expected adamw with strategy fsdp, got muon, which needs whole matrices")
    if machines.strategy == "fsdp" and settings.compile:
        raise ValueError("expected compile with one device or ddp, got it with fsdp")


def _check_rows(lm: SpeechLM, rows: PackedRows) -> None:
    if rows.vocabulary != lm.vocabulary:
        raise ValueError(
            f"expected rows in the model's vocabulary {lm.vocabulary}, got {rows.vocabulary}"
        )
    if rows.codec_fingerprint != lm.config.codec_fingerprint:
        raise ValueError(
            f"expected codes of the model's codec {lm.config.codec_fingerprint}, got those of "
            f"{rows.codec_fingerprint}"
        )
    if rows.seq_len > lm.config.max_seq_len:
        raise ValueError(
            f"expected rows of at most max_seq_len = {lm.config.max_seq_len} tokens, "
            f"got {rows.seq_len}"
        )
