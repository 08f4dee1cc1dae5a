"""Trainings that are ended by a signal, and what Lightning would resume under SLURM."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from codec.command_line import exit_status
from codec.runtime.run_trainer import PlainCheckpointIO, fit_or_exit, quiet_trainer

SLURM = {
    **{"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "other", "SLURM_NTASKS": "1", "SLURM_NNODES": "1"},
    **{"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "a"},
    **{"SLURM_NTASKS_PER_NODE": "1", "SLURM_NODELIST": "a"},
}


class Training(lightning.LightningModule):
    """One weight; `at_step` is called before a step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.signal_at, self.signal = -1, signal.SIGTERM

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        if self.global_step == self.signal_at:
            os.kill(os.getpid(), self.signal)
        return (self.weight * batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader([torch.ones(1)] * 4)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_an_interrupt_says_at_which_step_it_came(tmp_path: Path) -> None:
    module = Training()
    module.signal_at, module.signal = 2, signal.SIGINT
    trainer = quiet_trainer(tmp_path, accelerator="cpu", devices=1, max_steps=4, max_epochs=-1)
    with pytest.raises(KeyboardInterrupt, match="interrupted at step 2; the same command"):
        fit_or_exit(trainer, lambda: trainer.fit(module), tmp_path)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def trained(folder: Path, signal_at: int = -1, steps: int = 4) -> lightning.Trainer:
    module = Training()
    module.signal_at = signal_at
    trainer = quiet_trainer(folder, accelerator="cpu", devices=1, max_steps=steps, max_epochs=-1)
    fit_or_exit(trainer, lambda: trainer.fit(module), folder)
    return trainer


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Signal handlers of a fresh process: other tests' libraries may have left theirs."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("step", [1, 3])
def test_sigterm_ends_a_training_with_143_and_a_line(
    step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also in the last step, after which nothing of the stage is done."""
    with pytest.raises(SystemExit) as caught:
        trained(tmp_path, signal_at=step)
    assert caught.value.code == 143
    assert "ended by SIGTERM" in capsys.readouterr().err


class Saver(lightning.Callback):
    """Keeps the steps at which a training is to end."""

    def __init__(self) -> None:
        self.saved: list[int] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.should_stop:
            self.saved.append(trainer.global_step)


@pytest.mark.filterwarnings("ignore")
def test_sigterm_lets_the_step_come_to_its_end_for_those_that_save_it(tmp_path: Path) -> None:
    """A step of three batches, in the first of which it comes; a handler of before hears of it."""
    module, saver, heard = Training(), Saver(), []
    module.signal_at = 2
    trainer = quiet_trainer(
        tmp_path,
        accelerator="cpu",
        devices=1,
        max_steps=4,
        max_epochs=-1,
        accumulate_grad_batches=3,
        callbacks=[saver],
    )
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with pytest.raises(SystemExit):
        fit_or_exit(trainer, lambda: trainer.fit(module), tmp_path)
    assert saver.saved == [3]
    assert set(heard) == {signal.SIGTERM}


@pytest.mark.filterwarnings("ignore")
def test_a_command_leaves_the_signal_to_its_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heeded = []

    def work() -> int:
        heeded.append(signal.getsignal(signal.SIGTERM))
        try:
            trained(tmp_path, signal_at=1)
        finally:
            heeded.append(signal.getsignal(signal.SIGTERM))
        return 0

    with pytest.raises(SystemExit) as caught:
        exit_status(work)
    assert caught.value.code == 143
    assert "ended by SIGTERM at step" in capsys.readouterr().err
    assert heeded[0] is heeded[1] is not signal.SIG_DFL


@pytest.mark.filterwarnings("ignore")
def test_a_run_under_slurm_begins_at_its_own_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = trained(tmp_path / "a", steps=2)
    for folder in (tmp_path, tmp_path / "b"):
        other.save_checkpoint(folder / "hpc_ckpt_1.ckpt")
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGUSR1)
    trainer = trained(tmp_path / "b", steps=4)
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == 4
    assert float(trainer.model.weight) == pytest.approx(0.6)  # type: ignore[union-attr]
    assert signal.getsignal(signal.SIGUSR1) == before
    assert not list(tmp_path.rglob("hpc_ckpt_2*"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected devices of this machine, got accelerator 'gpu'"):
        quiet_trainer(tmp_path, accelerator="gpu", devices=1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_full_disk_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="No space left"):
        PlainCheckpointIO().save_checkpoint({"weight": torch.zeros(10**6)}, "/dev/full")


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
def test_a_checkpoint_goes_nowhere_but_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    trainer = quiet_trainer(tmp_path, max_steps=1, accelerator="cpu")
    trainer.fit(Training())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 1
