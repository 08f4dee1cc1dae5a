"""Running a training phase: from its last checkpoint to its last step."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
import torch.distributed as distributed
from lightning import Trainer
from lightning.pytorch.strategies import DDPStrategy, Strategy

from codec.distributed import process_rank, wait_for_all
from codec.model.hh_codec import HHCodec

from .auxiliary_weights import load_critics, save_critics
from .callbacks import CHECKPOINT, METRICS, Checkpoint, MetricsFile, Progress
from .config import STRATEGIES, FitConfig, PhaseConfig, check_shares
from .data import CodecData, CropBatches, Sources, source_shares
from .ema import load_averages
from .module import CodecTraining
from .tensorboard import Dashboard

__all__ = ["CHECKPOINT", "METRICS", "fit_codec_phase", "load_phase_codec"]

PRECISIONS = ("32-true", "bf16-mixed", "64-true")


class AveragedGradients(DDPStrategy):
    """One process a device, each with the whole model, whose gradients the module averages itself.

    Lightning's own wraps the module in `DistributedDataParallel`, which expects one backward pass a
    step over all parameters (see `codec.distributed.average_gradients`).
    """

    def configure_ddp(self) -> None:
        """Begin with the first process's weights."""
        module = self.lightning_module
        assert isinstance(module, CodecTraining)
        for value in module.state_dict().values():
            distributed.broadcast(value, 0)
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
    holds the rest (weights, discriminators, both optimizers, averages, the window of figures).
    Over several devices a step reads the same crops and draws the same noise as on one; weights
    differ by the rounding of sums, and a checkpoint continues on any number of devices.

    Args:
        codec: trained in place; at the end it has the averaged weights if the phase keeps them.
        phase: what to train.
        train: training clips at the codec's rate, or several sources with their shares.
        valid: validation clips.
        folder: receives last.ckpt, metrics.jsonl, training.safetensors when the phase has
            discriminators or a teacher, and what TensorBoard shows when asked for.
        config: seed, precision, intervals.

    Returns:
        the trained module; its `codec` is in eval mode.

    Raises:
        ValueError: the clips have another sample rate than the codec, a phase that cannot be
            trained, an unknown precision or strategy, or a batch that the devices cannot share.
        DivergedError: a loss or gradient is no longer a number.
    """
    _check(phase, config)
    for source, _ in [*source_shares(train), *source_shares(valid)]:
        if source.sample_rate != codec.sample_rate:
            raise ValueError(
                f"{source.folder}: expected {codec.sample_rate} Hz, got {source.sample_rate}"
            )
    first = config.devices * config.num_nodes == 1 or process_rank() == 0
    folder.mkdir(parents=True, exist_ok=True)
    module = CodecTraining(
        codec, phase, config.seed, folder=folder, balance_every=config.balance_every
    )
    crop_samples = phase.crop_codes * codec.hop_length
    batches = CropBatches(
        train, phase.batch_size, crop_samples, seed=config.seed, speed=phase.speed
    )
    dashboard = Dashboard(folder, codec.sample_rate) if config.tensorboard and first else None
    metrics = MetricsFile(folder, config, dashboard, writes=first)
    checkpoint = folder / CHECKPOINT
    if not checkpoint.is_file():
        _begin(module, metrics, config)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on loggers and worker counts
        trainer = Trainer(
            max_steps=phase.steps,
            max_epochs=-1,
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            strategy=_strategy(config),
            use_distributed_sampler=False,
            precision=config.precision,  # type: ignore[arg-type]
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[
                metrics,
                Checkpoint(folder, config.checkpoint_every),
                Progress(phase.name, config.log_every),
            ],
        )
        trainer.fit(
            module,
            datamodule=CodecData(batches, valid, num_workers=config.num_workers),
            ckpt_path=checkpoint if checkpoint.is_file() else None,
            weights_only=True,
        )
    if dashboard is not None:
        dashboard.close()
    if module.average is not None:
        module.average.copy_to(codec)
    if first:
        save_critics(module, folder)
    wait_for_all()  # a phase that comes next reads what the first has written
    codec.eval()
    return module


def _check(phase: PhaseConfig, config: FitConfig) -> None:
    """Refuse what cannot be run, before any work."""
    for name, known in (("precision", PRECISIONS), ("strategy", STRATEGIES)):
        if getattr(config, name) not in known:
            raise ValueError(f"{name}: expected one of {known}, got {getattr(config, name)!r}")
    for name in ("devices", "num_nodes"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name}: expected a count >= 1, got {getattr(config, name)}")
    check_shares(f"phase {phase.name}", phase.batch_size, config.devices * config.num_nodes)


def _strategy(config: FitConfig) -> str | Strategy:
    alone = config.strategy == "auto" and config.devices * config.num_nodes == 1
    return "auto" if alone else AveragedGradients()


def _begin(module: CodecTraining, metrics: MetricsFile, config: FitConfig) -> None:
    """Take over discriminators and a distillation's head, and say what starts anew."""
    for text in load_critics(module, config.critics_from, config.earlier_phases):
        warnings.warn(f"phase {module.phase.name}: {text}", stacklevel=3)
        metrics.notice(0, text)


def load_phase_codec(codec: HHCodec, folder: Path, parts: tuple[str, ...]) -> None:
    """Copy the weights of some parts from a phase's checkpoint into a codec.

    Averaged weights are taken where the phase kept them.

    Raises:
        ValueError: the folder has no checkpoint.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise ValueError(f"{folder}: no {CHECKPOINT}; train that phase first")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    state = checkpoint["state_dict"]
    for part in parts:
        prefix = f"codec.{part}."
        weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        getattr(codec, part).load_state_dict(weights)
    load_averages(codec, checkpoint.get("average", {}), parts)
