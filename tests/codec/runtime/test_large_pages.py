"""Trainings whose memory lies in large pages."""

from __future__ import annotations

import platform
from pathlib import Path

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from codec.runtime.large_pages import VARIABLE, available
from codec.runtime.run_trainer import quiet_trainer
from tests import forked

MEGABYTES = 16


class Training(lightning.LightningModule):
    """A weight of 16 MB, so that its gradient and its optimizer's state are new memory."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(MEGABYTES << 18))

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.weight.square() * batch).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader([torch.ones(1)] * 5)  # type: ignore[arg-type]


def train(folder: Path) -> None:
    """Train, then write the kilobytes of the heap in large pages and the weights."""
    module = Training()
    trainer = quiet_trainer(folder, accelerator="cpu", devices=1, max_steps=5, max_epochs=-1)
    trainer.fit(module)
    heap = False
    kilobytes = 0
    for line in Path("/proc/self/smaps").read_text().split("\n")[:-1]:
        fields = line.split()
        if "-" in fields[0]:  # the first line of a mapping: its addresses, and last its name
            heap = fields[-1] == "[heap]"
        elif heap and fields[0] == "AnonHugePages:":
            kilobytes += int(fields[1])
    folder.mkdir()
    torch.save({"kilobytes": kilobytes, "weight": module.weight.data}, folder / "outcome.pt")


def outcome(folder: Path, wanted: str) -> tuple[int, Tensor]:
    output = folder.with_suffix(".txt")
    status = forked.run(train, folder, output=output, environment={VARIABLE: wanted})
    assert status == 0, forked.printed(output)
    stored = torch.load(folder / "outcome.pt", weights_only=True)
    return stored["kilobytes"], stored["weight"]


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1")
    if not available():
        pytest.skip("this system has no large pages for those who ask")


@pytest.mark.usefixtures("wanted")
def test_a_training_on_the_cpu_has_its_memory_in_large_pages(tmp_path: Path) -> None:
    small, weight = outcome(tmp_path / "small", "0")
    large, same_weight = outcome(tmp_path / "large", "1")
    # Weight, gradient and two averages.
    assert large - small >= 4 * MEGABYTES * 1024
    assert torch.equal(weight, same_weight)


def test_large_pages_are_not_asked_for_where_they_are_not_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    assert not available()
    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not available()
