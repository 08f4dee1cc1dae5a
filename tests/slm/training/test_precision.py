from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from slm.data.packed_dataset import PackedDataset
from slm.model.speech_lm import SpeechLM
from slm.training.checkpoint import BF16, CHECKPOINT_NAME
from slm.training.config import TrainingSettings
from slm.training.microbatches import micro_batch
from slm.training.module import SpeechLMTraining
from tests.support.builders import fit

NATIVE = "codec.devices.native_bf16"


def test_a_model_is_trained_as_the_processor_can_and_goes_on_as_it_was_begun(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = []
    for native, steps in (("amx_bf16", 2), (None, 3)):
        monkeypatch.setattr(NATIVE, lambda path, native=native: native)
        fit(make_lm(gain=1.0), make_rows(), tmp_path, bf16="auto", max_steps=steps)
        assert torch.load(tmp_path / CHECKPOINT_NAME, weights_only=True)[BF16] is True
        said += [line for line in capsys.readouterr().err.splitlines() if "precision" in line]
    assert said == [
        "precision bf16-mixed: this processor multiplies bfloat16 itself (amx_bf16)",
        "precision bf16-mixed: in which the run was begun",
    ]


def test_a_model_is_trained_in_float32_where_the_processor_would_convert(
    make_lm: Callable[..., SpeechLM],
    make_rows: Callable[..., PackedDataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NATIVE, lambda path: None)
    fit(make_lm(gain=1.0), make_rows(), tmp_path, bf16="auto", max_steps=2)
    assert torch.load(tmp_path / CHECKPOINT_NAME, weights_only=True)[BF16] is False


def test_a_setting_of_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="bf16: expected true, false or auto, got 'maybe'"):
        TrainingSettings(max_steps=2, warmup_steps=1, bf16="maybe")


def test_processes_that_share_the_rows_of_a_batch_draw_dropout_of_their_own(
    make_lm: Callable[..., SpeechLM], make_rows: Callable[..., PackedDataset]
) -> None:
    """One process draws as it always did; the seed of a resumed step is that of the step."""
    rows = make_rows()
    parts = [micro_batch(rows, 3, 1, rank=rank, processes=2) for rank in range(2)]
    assert [each.part for each in parts] == [0, 1]
    whole = [micro_batch(rows, 3, 2, rank=rank, processes=2) for rank in range(2)]
    assert [each.part for each in whole] == [0, 0]
    settings = TrainingSettings(max_steps=9, warmup_steps=1)
    module = SpeechLMTraining(make_lm(dropout=0.5).train(), settings)
    same = parts[0]._replace(part=1)
    losses = [module.training_step(each, 0).item() for each in (parts[0], same, parts[0])]
    assert losses[0] == losses[2] != losses[1]
