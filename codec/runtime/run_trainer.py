"""Lightning trainers that leave resumption, files and the exit status to this project."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException

from codec.signals import unheeded_signals

# Exit status of a process that SIGTERM ended, as a shell gives it.
TERMINATED = 128 + 15


def quiet_trainer(folder: Path, **options: Any) -> Trainer:
    """Build a trainer that prints nothing, writes nothing and resumes nothing of its own.

    Under SLURM Lightning would save `hpc_ckpt_1.ckpt` at SIGUSR1 and begin any later training
    from such a file, past the checks of this project's own checkpoints.

    Args:
        folder: Of the run.
        options: Further arguments of `lightning.Trainer`.

    Raises:
        ValueError: Devices that this machine does not have, or that do not go together.
    """
    # torchrun goes first, as in Lightning's own choice of an environment.
    slurm = SLURMEnvironment.detect() and not TorchElasticEnvironment.detect()
    plugins: list[Any] = [SLURMEnvironment(auto_requeue=False)] if slurm else []
    if not isinstance(options.get("strategy"), ModelParallelStrategy):  # which gathers first
        plugins.append(PlainCheckpointIO())
    try:
        return Trainer(
            plugins=plugins,
            # Where Lightning looks for such files: a folder that nothing makes.
            default_root_dir=folder / ".lightning",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            **options,
        )
    except MisconfigurationException as error:
        asked = {name: options.get(name) for name in ("accelerator", "devices", "strategy")}
        shown = ", ".join(f"{name} {value!r}" for name, value in asked.items() if value is not None)
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f"expected devices of this machine, got {shown}: {reason}") from error


class PlainCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint where it is asked for.

    Lightning would write it to the folder for temporary files first, which may be small, and copy.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a file.

        Raises:
            OSError: The disk refused.
        """
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, "wb") as file:
                torch.save(checkpoint, file)
        except RuntimeError as error:
            # What torch says hides the system's error, which it caught.
            cause = error.__context__
            raise cause if isinstance(cause, OSError) else error from None


def fit_or_exit(trainer: Trainer, fit: Callable[[], None], folder: Path) -> None:
    """Call a trainer's `fit`; after SIGTERM say so on stderr and end with a status of failure.

    Args:
        trainer: That fits.
        fit: Calls its `fit`.
        folder: Of the run, for the message.

    Raises:
        SystemExit: With status 143 after SIGTERM, also where it came in the last step.
        KeyboardInterrupt: It was interrupted; says at which step.
    """
    again = f"the same command goes on from the last checkpoint in {folder}"
    try:
        with unheeded_signals():  # Lightning ends a training between two steps
            fit()
    except SIGTERMException as error:
        _say(trainer, f"ended by SIGTERM at step {trainer.global_step}; {again}")
        raise SystemExit(TERMINATED) from error
    except SystemExit as error:
        # Lightning ends the process itself where it was interrupted.
        if isinstance(error.__context__, KeyboardInterrupt):
            message = f"interrupted at step {trainer.global_step}; {again}"
            raise KeyboardInterrupt(message if trainer.is_global_zero else "") from error
        raise
    if trainer.received_sigterm:
        _say(trainer, f"ended by SIGTERM after the last step; {again}")
        raise SystemExit(TERMINATED)


def _say(trainer: Trainer, message: str) -> None:
    if trainer.is_global_zero:
        print(f"error: {message}", file=sys.stderr, flush=True)
