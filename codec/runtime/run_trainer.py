"""Lightning trainers that leave resumption, files and the exit status to this project."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
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


class SigtermStop(Callback):
    """Stops a training behind the step in which SIGTERM came, all processes behind the same one.

    Callbacks that come after it find `trainer.should_stop` set, and save the step. Lightning's own
    handler, which this replaces, stops behind a batch, of which a step may have several, and talks
    to the other processes in the midst of whatever they exchange.
    """

    def __init__(self) -> None:
        self.came = False
        self._step = 0
        # A handler of the caller's is called as well, as Lightning would.
        self._found = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signal over; Lightning puts back what it has found itself."""
        self._step = trainer.global_step
        self.came = trainer.received_sigterm
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        if callable(self._found):
            self._found(number, frame)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """After the last batch of a step: agree on whether it was the last."""
        if trainer.global_step == self._step:
            return  # still accumulating
        self._step = trainer.global_step
        if trainer.world_size > 1:
            self.came = trainer.strategy.reduce_boolean_decision(self.came, all=False)
        if self.came:
            trainer.should_stop = True


def fit_or_exit(trainer: Trainer, fit: Callable[[], None], folder: Path) -> None:
    """Call a trainer's `fit`; after SIGTERM say so on stderr and end with a status of failure.

    SIGTERM ends the training behind the step in which it came. That step's callbacks find
    `trainer.should_stop` set, so that they can save it.

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
        with unheeded_signals():
            stop = SigtermStop()
            # First of all, for those that save.
            trainer.callbacks.insert(0, stop)  # type: ignore[attr-defined]
            fit()
    except SIGTERMException as error:  # it came before the first step
        _say(trainer, f"ended by SIGTERM at step {trainer.global_step}; {again}")
        raise SystemExit(TERMINATED) from error
    except SystemExit as error:
        # Lightning ends the process itself where it was interrupted.
        if isinstance(error.__context__, KeyboardInterrupt):
            message = f"interrupted at step {trainer.global_step}; {again}"
            raise KeyboardInterrupt(message if trainer.is_global_zero else "") from error
        raise
    if stop.came or trainer.received_sigterm:
        _say(trainer, f"ended by SIGTERM at step {trainer.global_step}; {again}")
        raise SystemExit(TERMINATED)


def _say(trainer: Trainer, message: str) -> None:
    if trainer.is_global_zero:
        print(f"error: {message}", file=sys.stderr, flush=True)
