"""Trainings that a scheduler ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slm.data.packed_dataset import PackedDataset
from slm.model.speech_lm import SpeechLM
from slm.training.module import SpeechLMTraining
from tests.support.builders import fit, metrics_of


def test_a_run_ended_by_sigterm_has_saved_the_step_and_continues_to_the_bit(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes in the first of a step's three batches, long before a checkpoint is due."""
    given = {"accumulate": 3, "max_steps": 5, "checkpoint_every": 100}
    rows = make_rows()
    straight = fit(make_lm(), rows, tmp_path / "a", **given)
    step = SpeechLMTraining.training_step

    def ended(self: SpeechLMTraining, batch: Any, number: int) -> Any:
        if self.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, number)

    with monkeypatch.context() as patched:
        patched.setattr(SpeechLMTraining, "training_step", ended)
        with pytest.raises(SystemExit) as caught:
            fit(make_lm(), rows, tmp_path / "b", **given)
    assert caught.value.code == 143
    checkpoint = torch.load(tmp_path / "b" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == len(metrics_of(tmp_path / "b")) == 3
    resumed = fit(make_lm(seed=1), rows, tmp_path / "b", **given)
    for name, value in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    losses = [[line["loss"] for line in metrics_of(tmp_path / run)] for run in "ab"]
    assert losses[0] == losses[1]
