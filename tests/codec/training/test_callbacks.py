from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from codec.training.callbacks import METRICS, MetricsFile
from codec.training.codebook import CodebookUsage
from codec.training.config import FitConfig
from codec.training.module import CodecTraining

EVERY = FitConfig(log_every=4, validate_every=100)


class Module(CodecTraining):
    """A training of which only the metrics are there."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.codebook_use = CodebookUsage(4)
        self.last_metrics = {}
        self.last_gradient_norms = {}


def run(metrics: MetricsFile, module: CodecTraining, steps: Iterable[int]) -> None:
    """Steps with a loss equal to the step, and another that begins at step 3."""
    for step in steps:
        module.last_metrics = {"mel": torch.tensor(float(step))}
        if step >= 3:
            module.last_metrics["adversarial"] = torch.tensor(1.0)
        module.codebook_use.update(torch.tensor([0, step % 4]))
        trainer: Any = SimpleNamespace(global_step=step, max_steps=100)
        metrics.on_train_batch_end(trainer, module)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def test_a_window_holds_means_over_the_steps_that_had_the_term(tmp_path: Path) -> None:
    run(MetricsFile(tmp_path, EVERY), Module(), range(1, 9))
    first, second = lines(tmp_path)
    assert first["mel"] == 2.5
    assert first["adversarial"] == 1.0
    assert first["tokens"] == second["tokens"] == 8.0
    assert first["codes_used"] == 4.0
    assert second["mel"] == 6.5


def test_a_window_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    cut = MetricsFile(tmp_path, EVERY)
    module = Module()
    run(cut, module, range(1, 3))
    resumed = MetricsFile(tmp_path, EVERY)
    resumed.load_state_dict(cut.state_dict())
    run(resumed, module, range(3, 5))
    assert lines(tmp_path)[0]["mel"] == 2.5


def test_lines_beyond_the_restored_step_and_torn_ones_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 4, "split": "train"}\n{"step": 8, "split": "train"}\n{"step": 1')
    metrics = MetricsFile(tmp_path, EVERY)
    metrics.on_train_start(SimpleNamespace(global_step=4), Module())  # type: ignore[arg-type]
    assert lines(tmp_path) == [{"step": 4, "split": "train"}]


def test_a_notice_is_written_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = MetricsFile(tmp_path, EVERY)
    for step in (1, 2):
        metrics.notice(step, "no stoi")
    assert lines(tmp_path) == [{"step": 1, "split": "notice", "notice": "no stoi"}]
    assert len(caplog.records) == 1


def test_a_balance_report_is_a_line_of_its_own(tmp_path: Path) -> None:
    metrics, module = MetricsFile(tmp_path, EVERY), Module()
    module.last_gradient_norms = {"mel.waveform_mel": 0.25}
    run(metrics, module, [1])
    assert lines(tmp_path) == [{"step": 1, "split": "balance", "mel.waveform_mel": 0.25}]


def test_metrics_stay_on_the_device_until_a_line_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a loss makes the host wait for the device."""
    metrics, module = MetricsFile(tmp_path, EVERY), Module()

    def read(_) -> None:
        raise AssertionError("read before its time")

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "__float__", read)
        run(metrics, module, range(1, 4))
        with pytest.raises(AssertionError, match="before its time"):
            run(metrics, module, [4])
