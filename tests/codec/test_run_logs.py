"""Logs of a training run for TensorBoard and Weights & Biases."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from codec.run_logs import RunLogs, mel_picture


def write_one_of_each(logs: RunLogs, first: int) -> None:
    logs.open(first)
    logs.scalars(first + 1, {"train/loss": 0.5})
    logs.picture(first + 1, "mel", torch.rand(1, 8, 6))
    logs.audio(first + 1, "sound", 2 * torch.randn(2400), 24_000)
    logs.text(first + 1, "text", "seven green hills")
    logs.close()


def test_mels_of_unlike_length_share_a_picture_in_the_range_of_the_first() -> None:
    picture = mel_picture(torch.tensor([[-4.0, 0.0]]), torch.tensor([[-2.0, 3.0, -9.0]]))
    assert picture.shape == (1, 1 + 2 + 1, 3)
    assert picture[0, 0].tolist() == [0.0, 1.0, 0.0]
    assert picture[0, 3].tolist() == [0.5, 1.0, 0.0]


def test_a_run_without_logs_writes_nothing(tmp_path: Path) -> None:
    logs = RunLogs(tmp_path, tensorboard=False)
    assert not logs
    write_one_of_each(logs, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    hidden = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}[package]
    monkeypatch.setitem(sys.modules, hidden, None)
    with pytest.raises(ValueError, match=f"{package}: .*: pip install .*{package}>="):
        RunLogs(tmp_path, tensorboard=package == "tensorboard", wandb="project")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_weights_and_biases_stay_offline_and_keep_one_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for first in (0, 3):
        write_one_of_each(RunLogs(tmp_path, tensorboard=False, wandb="project"), first)
    name = (tmp_path / "wandb" / "id").read_text()
    runs = sorted((tmp_path / "wandb").glob(f"offline-run-*-{name}"))
    assert runs
    media = [path.suffix for run in runs for path in run.rglob("media/*/*")]
    assert {".png", ".wav"} <= set(media)
