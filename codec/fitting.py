"""Running a training phase: from its last checkpoint to its last step."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from lightning import Trainer

from .callbacks import CHECKPOINT, METRICS, Checkpoint, MetricsFile, Progress
from .critics import load_critics, save_critics
from .dashboard import Dashboard
from .data import CodecData, CropBatches, Sources, source_shares
from .ema import load_averages
from .model import HHCodec
from .phases import FitConfig, PhaseConfig
from .training import CodecTraining

__all__ = ["CHECKPOINT", "METRICS", "fit_codec_phase", "load_phase_codec"]

PRECISIONS = ("32-true", "bf16-mixed", "64-true")


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
            trained, or an unknown precision.
        DivergedError: a loss or gradient is no longer a number.
    """
    for source, _ in [*source_shares(train), *source_shares(valid)]:
        if source.sample_rate != codec.sample_rate:
            raise ValueError(
                f"{source.folder}: expected {codec.sample_rate} Hz, got {source.sample_rate}"
            )
    if config.precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {PRECISIONS}, got {config.precision!r}")
    folder.mkdir(parents=True, exist_ok=True)
    module = CodecTraining(
        codec, phase, config.seed, folder=folder, balance_every=config.balance_every
    )
    crop_samples = phase.crop_codes * codec.hop_length
    batches = CropBatches(
        train, phase.batch_size, crop_samples, seed=config.seed, speed=phase.speed
    )
    dashboard = Dashboard(folder, codec.sample_rate) if config.tensorboard else None
    metrics = MetricsFile(folder, config, dashboard)
    checkpoint = folder / CHECKPOINT
    if not checkpoint.is_file():
        _begin(module, metrics, config)
    if module.distillation is not None:
        on_gpu = config.accelerator != "cpu" and torch.cuda.is_available()
        module.distillation.prepare(batches.sources, "cuda" if on_gpu else "cpu")
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
    save_critics(module, folder)
    codec.eval()
    return module


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
