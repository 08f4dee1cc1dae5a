from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from codec.run_logs import RunLogs, mel_picture
from codec.training.dashboard import Dashboard
from codec.training.validation import Validation


def test_a_mel_picture_has_both_mels_in_the_targets_range() -> None:
    target = torch.tensor([[-4.0, 0.0], [-2.0, -2.0]])  # (M, F), the lowest band first
    picture = mel_picture(target, target + 10.0)
    assert picture.shape == (1, 2 * 2 + 2, 2)
    assert picture[0, :2].tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert picture[0, 4:].min() == 1.0


def test_a_run_can_be_looked_at_and_listened_to(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    mels, waveforms = torch.randn(2, 10, 8), torch.randn(2, 2400)
    dashboard = Dashboard(RunLogs(tmp_path, tensorboard=True), 24_000, num_clips=1)
    dashboard.open(0)
    dashboard.scalars(3, "train", {"mel": 0.5})
    dashboard.show(3, Validation({}, waveforms, 2 * waveforms, mels, mels))
    dashboard.close()
    events = accumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert tags["scalars"] == ["train/mel"]
    assert tags["images"] == ["mel/0"]
    assert sorted(tags["audio"]) == ["decoded/0", "recorded/0"]


def test_a_resumed_run_replaces_what_lies_beyond_its_step(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    for first, steps in ((0, (1, 2, 3)), (1, (2,))):
        dashboard = Dashboard(RunLogs(tmp_path, tensorboard=True), 24_000)
        dashboard.open(first)
        for step in steps:
            dashboard.scalars(step, "train", {"mel": 1.0})
        dashboard.close()
        time.sleep(1.1)  # the second's file is named after the clock
    events = accumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/mel")] == [1, 2]
