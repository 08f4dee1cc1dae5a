"""Figures of validation by name, in metrics.jsonl and for TensorBoard."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slm.data.packed_dataset import PackedDataset
from slm.data.prompt_probe import NONE, OWN, STRANGER, prompt_probe
from slm.model.likelihood import nats_per_code
from slm.model.speech_lm import SpeechLM
from slm.training.fit import fit_speech_lm
from tests.support.builders import SETTINGS, metrics_of


def test_what_prompts_tell_is_validated_under_its_names(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    rows = make_rows()
    probe = prompt_probe(rows, 6)
    validation = {"valid_nats_per_code": list(rows.epoch_batches())[:1], **probe}
    settings = replace(SETTINGS, max_steps=2)
    options = {"settings": settings, "accelerator": "cpu", "progress": False}
    fit_speech_lm(lm, rows, tmp_path, validation=validation, **options)
    last = metrics_of(tmp_path)[-1]
    for name in (OWN, STRANGER, NONE):
        assert last[name] == pytest.approx(nats_per_code(lm, probe[name]))
    assert not (tmp_path / "tensorboard").exists()


def test_curves_are_written_for_tensorboard_where_asked(
    lm: SpeechLM, make_rows: Callable[..., PackedDataset], tmp_path: Path
) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = make_rows()
    settings = replace(SETTINGS, max_steps=2, tensorboard=True)
    options = {"settings": settings, "accelerator": "cpu", "progress": False}
    fit_speech_lm(lm, rows, tmp_path, validation=prompt_probe(rows, 4), **options)
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [event.value for event in events.Scalars("train/loss")]
    assert losses == pytest.approx([row["loss"] for row in metrics_of(tmp_path)], rel=1e-5)
    assert len(events.Scalars("valid/nats_own_prompt")) == 1
