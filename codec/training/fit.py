"""The run of a training phase, from its last checkpoint to its last step."""

from __future__ import annotations

import logging
import sys
import warnings
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from lightning import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy

from codec.checks import check_shares, require
from codec.devices import training_precision
from codec.distributed import broadcast_from_first, process_rank, wait_for_all
from codec.model.hh_codec import HHCodec
from codec.run_logs import RunLogs
from codec.runtime.checkpoint_file import read_checkpoint
from codec.runtime.compiling import compiled
from codec.runtime.run_lock import locked
from codec.runtime.run_trainer import fit_or_exit, quiet_trainer

from .auxiliary_weights import load_auxiliary_weights, save_auxiliary_weights
from .callbacks import Checkpoint, MetricsFile, Progress
from .checkpoint import (
    CHECKPOINT,
    METRICS,
    begun_precision,
    checkpoint_to_resume,
    describe_batches,
)
from .config import FitConfig, PhaseConfig
from .data import CodecData, CropBatches, Sources, source_shares
from .ema import load_averages
from .module import CodecTraining
from .validation import Dashboard

__all__ = ["CHECKPOINT", "METRICS", "fit_codec_phase", "load_phase_codec"]


class AveragedGradients(DDPStrategy):
    """Data-parallel strategy without `DistributedDataParallel`: the module averages its gradients.

    One process a device, each with the whole model. Lightning's own strategy wraps the module,
    which then expects one backward pass a step over all parameters (see
    `codec.distributed.average_gradients`).
    """

    def configure_ddp(self) -> None:
        """Begin with the first process's weights."""
        module = self.lightning_module
        assert isinstance(module, CodecTraining)
        broadcast_from_first(module.state_dict().values())
        module.codec.weights_changed()


def fit_codec_phase(
    codec: HHCodec,
    phase: PhaseConfig,
    train: Sources,
    valid: Sources,
    folder: Path,
    *,
    config: FitConfig,
) -> CodecTraining:
    """Train one phase to its last step, from its last checkpoint when there is one.

    A run that was killed and started again gives the weights of one that was not, bit for bit
    on a CPU: batches, noise and learning rate depend on seed and step alone, and the checkpoint
    holds the rest (weights, discriminators, both optimizers, averages, the window of metrics).
    Over several devices a step reads the same crops and draws the same noise as on one; weights
    differ by the rounding of sums, and a checkpoint continues on any number of devices.

    Args:
        codec: Trained in place; at the end in eval mode, with the averaged weights if there are.
        phase: Parts, losses and schedule.
        train: Training clips at the codec's rate, or several sources with their shares.
        valid: Validation clips.
        folder: Receives last.ckpt, metrics.jsonl, training.safetensors when the phase has
            discriminators or a teacher, and the events of TensorBoard when asked for.
        config: Seed, precision, devices, intervals.

    Raises:
        ValueError: The clips have another sample rate than the codec, the codec cannot be trained
            in this phase, the devices cannot share its batch, another process trains in the
            folder, or its checkpoint was trained on other data or is lost.
        DivergedError: A loss, gradient, weight or validation is not finite; the last checkpoint is
            from before.
        SystemExit: SIGTERM came (status 143).
    """
    processes = config.devices * config.num_nodes
    check_shares(f"phase {phase.name}", phase.batch_size, processes)
    for source, _ in [*source_shares(train), *source_shares(valid)]:
        same = source.sample_rate == codec.sample_rate
        require(same, str(source.folder), f"{codec.sample_rate} Hz", source.sample_rate)
    # One process may have any rank among others that do not train with it.
    first = processes == 1 or process_rank() == 0
    with locked(folder) if first else nullcontext():
        return _fit(codec, phase, train, valid, folder, config, first=first)


def _fit(
    codec: HHCodec,
    phase: PhaseConfig,
    train: Sources,
    valid: Sources,
    folder: Path,
    config: FitConfig,
    *,
    first: bool,
) -> CodecTraining:
    """Train a phase in a folder that this run has for itself; `first` writes the files."""
    folder.mkdir(parents=True, exist_ok=True)
    module = CodecTraining(
        codec, phase, config.seed, folder=folder, balance_every=config.balance_every
    )
    crops = phase.batch_size, phase.crop_codes * codec.hop_length
    batches = CropBatches(
        train,
        *crops,
        seed=config.seed,
        speed=phase.speed,
        perturbation=phase.perturbation,
        pitch_hop=codec.config.mel.hop_length if phase.weights.pitch > 0 else 0,
        voices=codec.has_voice and phase.uses_codec,
    )
    data = CodecData(batches, valid, num_workers=config.num_workers)
    logs = RunLogs(folder, tensorboard=config.tensorboard, wandb=config.wandb)
    dashboard = Dashboard(logs, codec.sample_rate) if logs and first else None
    metrics = MetricsFile(folder, config, dashboard, writes=first)
    module.described = describe_batches(batches)
    resumed = checkpoint_to_resume(folder, module.described)
    config = replace(config, precision=_precision(phase, config, resumed, says=first))
    seconds = crops[0] * crops[1] / codec.sample_rate
    progress = Progress(phase.name, config.log_every, seconds)
    callbacks = [metrics, Checkpoint(folder, config.checkpoint_every), progress]
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # Before anything is written: it may be refused, such as for a precision that is none.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = _trainer(phase, config, callbacks, folder)
    if resumed is None:
        # A new phase: discriminators and a distillation's head go on from earlier training.
        for text in load_auxiliary_weights(module, config.auxiliary_from, config.earlier_phases):
            warnings.warn(f"phase {phase.name}: {text}", stacklevel=2)
            metrics.notice(0, text)

    def fit() -> None:
        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)

    networks = compiled(module.networks) if config.compile else nullcontext()
    with networks, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loggers and worker counts
        fit_or_exit(trainer, fit, folder)
    if dashboard is not None:
        dashboard.close()
    if module.average is not None:  # the averages are what was validated, and are exported
        module.average.copy_to(codec)
    if first:
        save_auxiliary_weights(module, folder)
    wait_for_all()  # a phase that comes next reads what the first has written
    codec.eval()
    return module


def _precision(phase: PhaseConfig, config: FitConfig, resumed: Path | None, *, says: bool) -> str:
    """The precision of a phase; "auto" is that in which it was begun, else what the device has."""
    wanted = config.precision
    begun = begun_precision(resumed) if wanted == "auto" else None
    found = training_precision(begun or wanted, config.accelerator)
    if says and wanted == "auto":
        reason = "in which it was begun" if begun else found.reason
        print(f"phase {phase.name}: precision {found.name}: {reason}", file=sys.stderr, flush=True)
    return found.name


def _trainer(
    phase: PhaseConfig, config: FitConfig, callbacks: list[Callback], folder: Path
) -> Trainer:
    """A trainer that leaves logging, checkpoints and data sharding to this package."""
    alone = config.strategy == "auto" and config.devices * config.num_nodes == 1
    return quiet_trainer(
        folder,
        max_steps=phase.steps,
        max_epochs=-1,
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        strategy="auto" if alone else AveragedGradients(),
        precision=config.precision,
        callbacks=callbacks,
        benchmark=True,  # shapes of a step are fixed: cuDNN takes its fastest convolutions
    )


def load_phase_codec(codec: HHCodec, folder: Path, parts: tuple[str, ...]) -> None:
    """Copy the weights of some parts from a phase's checkpoint into a codec.

    Averaged weights are taken where the phase kept them.

    Raises:
        ValueError: The folder has no checkpoint, or one that is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{folder}: no {CHECKPOINT}; train that phase first")
    checkpoint = read_checkpoint(path, required=("state_dict",))
    state = checkpoint["state_dict"]
    for part in parts:
        prefix = f"codec.{part}."
        weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        getattr(codec, part).load_state_dict(weights)
    load_averages(codec, checkpoint.get("average", {}), parts)
