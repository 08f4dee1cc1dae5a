"""Lightning module of the speech LM's training."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor

from slm.data.packed_dataset import PackedDataset
from slm.model.code_embeddings import plain_weight
from slm.model.speech_lm import SpeechLM

from .checkpoint import BF16, ROW_COUNTS, STREAM, describe_model, number_by_module, set_batches_read
from .config import TrainingSettings
from .microbatches import MicroBatch
from .optimizers import gradient_norm, learning_rate, new_optimizer
from .preferences import PreferenceRows

# Between the seeds of parts of a batch; generators of the CPU read the lower 32 bits alone.
_BETWEEN_PARTS = 2_654_435_761


class SpeechLMTraining(lightning.LightningModule):
    """Next-token training of a `SpeechLM` on packed batches.

    Args:
        lm: The model, trained in place.
        settings: Schedule, optimizer and seeds.
        dataset: What it trains on, which of pairs has the loss; checkpoints hold its `row_counts`.
        stream: `describe_stream` of the run, for checkpoints.
        micro_batches: Of this process in an optimizer step.
        sharded: Spread the model over the processes (Lightning's model-parallel strategy).

    Attributes:
        gradient_norm: Of the last optimizer step, before clipping; float32 scalar.
        sharded: As given.
    """

    def __init__(
        self,
        lm: SpeechLM,
        settings: TrainingSettings,
        *,
        dataset: PackedDataset | PreferenceRows | None = None,
        stream: dict[str, Any] | None = None,
        micro_batches: int = 1,
        sharded: bool = False,
    ) -> None:
        super().__init__()
        self.lm = lm
        self.settings = settings
        self.gradient_norm = torch.zeros(())
        self._dataset, self._stream = dataset, stream
        self._micro_batches = micro_batches
        self.sharded = sharded

    def configure_model(self) -> None:
        """Spread every block, and what is left as one more unit, over the processes."""
        from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

        if not self.sharded or isinstance(self.lm, FSDPModule):
            return
        assert self.device_mesh is not None
        mesh = self.device_mesh["data_parallel"]
        # Blocks first: what is sharded already is left out of the outer unit.
        for block in self.lm.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(self.lm, mesh=mesh)
        # Entered by methods of their own, which must gather the weights as `forward` does.
        for name in ("loss", "token_nll"):
            register_fsdp_forward_method(self.lm, name)

    def training_step(self, batch: MicroBatch, batch_idx: int) -> Tensor:
        """Loss of one micro-batch, float32: nats a token, or that of its pairs of preferences."""
        # Dropout depends on the batch's number alone, so a resumed run draws the same; processes
        # that share its rows draw masks of their own.
        seed = self.settings.seed * 1_000_003 + batch.number + batch.part * _BETWEEN_PARTS
        torch.manual_seed(seed)
        rows = batch.batch
        if isinstance(self._dataset, PreferenceRows):
            return self._dataset.loss(self.lm, batch)
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
        # A tensor: its value is read once a step, by the monitor.
        self.gradient_norm = gradient_norm(self.lm.parameters())
        torch.nn.utils.clip_grads_with_norm_(
            self.lm.parameters(), self.settings.gradient_clip, self.gradient_norm
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(self.global_step, self.settings)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what identifies model and data; number states as any number of processes reads."""
        checkpoint.update(describe_model(self.lm.config))
        checkpoint[BF16] = self.settings.bf16
        if self._dataset is not None:
            checkpoint[STREAM] = self._stream
            checkpoint[ROW_COUNTS] = self._dataset.row_counts
        if self.sharded:  # numbered by module already
            return
        checkpoint["optimizer_states"] = [
            number_by_module(state, optimizer.param_groups, self.lm.parameters())
            for state, optimizer in zip(
                checkpoint["optimizer_states"], self.trainer.optimizers, strict=True
            )
        ]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count batches as this number of processes would have read them."""
        set_batches_read(checkpoint, self._micro_batches)
