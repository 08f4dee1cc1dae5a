"""Training run of a speech LM: step-indexed batches, atomic checkpoints, resume to the bit."""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from codec.checks import require
from codec.devices import FULL, MIXED, training_precision
from codec.distributed import process_rank
from codec.files.json_lines import keep_json_lines
from codec.runtime.run_lock import locked
from codec.runtime.run_trainer import fit_or_exit, quiet_trainer
from slm.data.packed_batch import PackedBatch
from slm.data.packed_dataset import PackedDataset
from slm.model.speech_lm import SpeechLM

from .callbacks import VALID_NAME, Monitor, Speak
from .checkpoint import (
    CHECKPOINT_NAME,
    METRICS_NAME,
    begun_bf16,
    checkpoint_to_resume,
    describe_stream,
    resume_point,
    saved_weights,
)
from .config import Machines, TrainingSettings
from .freezing import frozen
from .microbatches import MicroBatches, micro_batches_per_step
from .module import SpeechLMTraining
from .preferences import PreferenceRows


def fit_speech_lm(
    lm: SpeechLM,
    dataset: PackedDataset | PreferenceRows,
    folder: Path | str,
    *,
    settings: TrainingSettings,
    validation: Iterable[PackedBatch] | Mapping[str, Iterable[PackedBatch]] = (),
    resume_from: Path | str | None = None,
    accelerator: str = "auto",
    machines: Machines | None = None,
    progress: bool = True,
    speak: Speak | None = None,
) -> SpeechLM:
    """Train `lm` in place, continuing from `folder`/last.ckpt when there is one.

    On one device the outcome does not depend on how often the run was cut off; on the CPU it is
    the same to the bit for the same number of threads. Over several devices each step reads the
    same rows as on one, and a checkpoint continues on any number of them; dropout of a batch whose
    rows are divided among devices is drawn for each part.

    Args:
        lm: The model.
        dataset: Training rows, or pairs; batch n is the n-th the run reads.
        folder: Gets last.ckpt and metrics.jsonl (step, loss, lr, gradient_norm before clipping,
            tokens_per_second without padding, mfu, and valid_nats_per_code where it was measured),
            and the same as events of TensorBoard where the settings ask for them.
            Checkpoints are written after the first step, then as the settings say.
        settings: Schedule, optimizer and seeds.
        validation: Batches to validate on, usually `PackedDataset.epoch_batches()` of settings
            without augmentation; or batches of several kinds by the names of their figures.
        resume_from: Checkpoint that a folder without last.ckpt goes on from; the folder's own goes
            first, so that the same call continues a run that was cut off once more.
        accelerator: Lightning's name of the device kind, used without `machines`.
        machines: Devices, nodes and strategy; one device when None.
        progress: Show a bar on stderr.
        speak: Gets the model and the step at every validation, in the first process, and returns
            samples for the logs; None for none. Not with strategy "fsdp".

    Returns:
        `lm`, in eval mode.

    Raises:
        ValueError: The rows do not fit the model or are damaged; the checkpoint is of another
            model, trained on other batches or beyond `max_steps`; `resume_from` is not there; the
            folder has the metrics of steps and no checkpoint; a step cannot be divided among the
            devices; the settings do not go together; another process trains in the folder; or a
            loss, gradient, weight or validation is not finite, and then the last checkpoint is
            from before.
        SystemExit: SIGTERM came (status 143).
    """
    machines = machines or Machines(accelerator)
    _check(lm, dataset, settings, machines)
    # One process may have any rank among others that do not train with it.
    first = machines.devices * machines.num_nodes == 1 or process_rank() == 0
    if first:
        dataset.check_stores()
    kinds: Any = validation if isinstance(validation, Mapping) else {VALID_NAME: validation}
    batches = {name: list(each) for name, each in kinds.items()}
    with locked(Path(folder)) if first else nullcontext():
        return _fit_locked(
            lm, dataset, Path(folder), settings, batches, resume_from, machines, progress, speak
        )


def _fit_locked(
    lm: SpeechLM,
    dataset: PackedDataset | PreferenceRows,
    folder: Path,
    settings: TrainingSettings,
    validation: dict[str, list[PackedBatch]],
    resume_from: Path | str | None,
    machines: Machines,
    progress: bool,
    speak: Speak | None,
) -> SpeechLM:
    """Train in a folder that this run has for itself."""
    processes = machines.devices * machines.num_nodes
    per_step = micro_batches_per_step(settings.accumulate, dataset.batch_size, processes)
    # 1. Where the run stands: its own checkpoint, the one given, or the start.
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = checkpoint_to_resume(folder, Path(resume_from) if resume_from else None)
    settings = replace(settings, bf16=_uses_bf16(settings, machines, checkpoint))
    stream = describe_stream(dataset.describe(), settings)
    start_step, row_counts = resume_point(checkpoint, lm, stream, settings.max_steps)
    dataset.know_row_counts(row_counts)
    if process_rank() == 0:
        # Steps after the checkpoint are made again.
        keep_json_lines(folder / METRICS_NAME, lambda row: row["step"] <= start_step)
    # 2. The steps that are left.
    sharded = machines.strategy == "fsdp"
    require(not sharded or speak is None, "samples", "0 with strategy fsdp", "some")
    if start_step < settings.max_steps:
        monitor = Monitor(settings, folder, start_step, validation, progress, speak)
        trainer = _trainer(settings, monitor, machines, per_step, folder)
        # Sharding replaces parameters, and the caller's model shall keep its own.
        with _prepared(copy.deepcopy(lm) if sharded else lm, settings) as trained:
            module = SpeechLMTraining(
                trained,
                settings,
                dataset=dataset,
                stream=stream,
                micro_batches=per_step,
                sharded=sharded,
            )
            _fit(trainer, module, dataset, start_step, checkpoint, folder)
        checkpoint = folder / CHECKPOINT_NAME
    # 3. The weights, back in the caller's model.
    lm.to("cpu")
    if start_step == settings.max_steps or sharded:
        assert checkpoint is not None
        lm.load_state_dict(saved_weights(checkpoint))
    return lm.eval()


def _uses_bf16(settings: TrainingSettings, machines: Machines, checkpoint: Path | None) -> bool:
    """True if products are of bfloat16; "auto" is as the run was begun, else as the device can."""
    if settings.bf16 != "auto":
        return bool(settings.bf16)
    begun = begun_bf16(checkpoint)
    found = training_precision("auto", machines.accelerator)
    uses = found.name == MIXED if begun is None else begun
    if process_rank() == 0:
        reason = found.reason if begun is None else "in which the run was begun"
        print(f"precision {MIXED if uses else FULL}: {reason}", file=sys.stderr, flush=True)
    return uses


def _fit(
    trainer: lightning.Trainer,
    module: SpeechLMTraining,
    dataset: PackedDataset | PreferenceRows,
    start_step: int,
    checkpoint: Path | None,
    folder: Path,
) -> None:
    batches = MicroBatches(
        dataset,
        module.settings.accumulate,
        start_step=start_step,
        stop_step=module.settings.max_steps,
        # Found out by the trainer: "auto" may be a CUDA device.
        pinned=isinstance(trainer.accelerator, CUDAAccelerator),
    )

    def fit() -> None:
        trainer.fit(module, train_dataloaders=batches, ckpt_path=checkpoint, weights_only=True)

    with warnings.catch_warnings(), closing(batches):
        # Lightning 2.6 asks torch's tree utilities in a way torch 2.13 calls deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        fit_or_exit(trainer, fit, folder)


@contextmanager
def _prepared(lm: SpeechLM, settings: TrainingSettings) -> Iterator[SpeechLM]:
    """The model in training mode with the kernels of the settings, as it was before at the end."""
    lm.attention_kernel = settings.attention
    lm.recompute_activations(settings.recompute)
    if settings.compile:
        lm.compile_training()
    try:
        with frozen(lm, settings):
            yield lm.train()
    finally:
        lm.compiled, lm.attention_kernel = None, "auto"
        lm.recompute_activations(False)


def _trainer(
    settings: TrainingSettings, monitor: Monitor, machines: Machines, per_step: int, folder: Path
) -> lightning.Trainer:
    """A trainer that prints nothing and writes nothing of its own."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    return quiet_trainer(
        folder,
        accelerator=machines.accelerator,
        devices=machines.devices,
        num_nodes=machines.num_nodes,
        strategy=_strategy(machines),
        precision="bf16-mixed" if settings.bf16 else "32-true",
        max_steps=settings.max_steps,
        max_epochs=-1,  # steps decide
        accumulate_grad_batches=per_step,
        callbacks=[monitor],
        num_sanity_val_steps=0,
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


def _check(
    lm: SpeechLM,
    dataset: PackedDataset | PreferenceRows,
    settings: TrainingSettings,
    machines: Machines,
) -> None:
    sharded, config = machines.strategy == "fsdp", lm.config
    adamw = "adamw with strategy fsdp, as muon needs whole matrices"
    require(not sharded or settings.optimizer != "muon", "optimizer", adamw, settings.optimizer)
    plain = "false with strategy fsdp"
    require(not sharded or not settings.compile, "compile", plain, settings.compile)
    same = dataset.vocabulary == lm.vocabulary
    require(same, "vocabulary", f"the model's, {lm.vocabulary}", dataset.vocabulary)
    expected, found = config.codec_fingerprint, dataset.codec_fingerprint
    require(found == expected, "codec_fingerprint", f"the model's, {expected}", found)
    longest = f"at most max_seq_len = {config.max_seq_len} tokens"
    require(dataset.seq_len <= config.max_seq_len, "seq_len", longest, dataset.seq_len)
