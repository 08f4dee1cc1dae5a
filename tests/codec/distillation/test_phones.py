"""Phones of forced alignments as the teacher of the quantized latents."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from codec import CodecConfig
from codec.audio.sources import CropPlace
from codec.audio.store import AudioStore
from codec.distillation.config import SemanticConfig
from codec.distillation.phones import (
    IGNORED,
    AlignmentsError,
    PhoneDistillation,
    PhoneTargets,
)
from codec.training.auxiliary_weights import load_auxiliary_weights
from codec.training.config import FitConfig, LossWeights, PhaseConfig
from codec.training.fit import fit_codec_phase
from codec.training.phase_checks import check_phase
from tests.support.builders import few_latents, metrics_of, new_codec

UNITS = [[0, 0.0, 0.25], [7, 0.25, 0.25], [41, 0.25, 0.5], [7, 0.5, 0.9]]


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def alignments(store: AudioStore, tmp_path: Path) -> Path:
    rows = ({"id": row["id"], "units": UNITS, "score": 0.5} for row in store.rows)
    return write(tmp_path / "train.alignment.jsonl", *rows)


def phase_of(path: Path, **changes: Any) -> PhaseConfig:
    phase = PhaseConfig(
        name="codec",
        train=("encoder", "quantizer", "decoder"),
        steps=4,
        batch_size=2,
        crop_codes=4,
        quantize_from=2,
        warmup_steps=0,
        weights=LossWeights(mel=1.0, vq=1.0, semantic=1.0),
        semantic=SemanticConfig(teacher="phones", alignments=[str(path)]),
    )
    return replace(phase, **changes)


def test_a_code_has_the_phone_at_its_centre(tmp_path: Path) -> None:
    targets = PhoneTargets([write(tmp_path / "a.jsonl", {"id": "x", "units": UNITS})])
    assert targets.phones.tolist() == [0, 7, 41]
    times = np.array([-0.01, 0.0, 0.2, 0.25, 0.49, 0.5, 0.89, 0.9, 2.0])
    assert targets.at("x", times).tolist() == [IGNORED, 0, 0, 2, 2, 1, 1, IGNORED, IGNORED]
    assert targets.at("y", times).tolist() == [IGNORED] * 9


def test_a_crop_has_the_phones_of_its_place_and_none_in_its_padding(
    store: AudioStore, alignments: Path
) -> None:
    head = PhoneDistillation([str(alignments)], 8, 23.4375, 24_000)
    start = 6_000  # 0.25 s
    whole = CropPlace(0, 0, start, 8 * 1024, 8 * 1024)
    # Played at half the speed, and a clip that ends after four codes.
    slow = replace(whole, taken=4 * 1024)
    short = replace(whole, length=4 * 1024)
    labels = head.labels(8, 8 * 1024, [store], [whole, slow, short])
    # Centres at 0.27, 0.31 ... 0.57 s; of the slow one at 0.26, 0.28 ... 0.41 s
    assert labels[0].tolist() == [2] * 6 + [1] * 2
    assert labels[1].tolist() == [2] * 8
    assert labels[2].tolist() == [2] * 4 + [IGNORED] * 4


def test_the_loss_is_the_cross_entropy_and_reaches_the_latents(
    store: AudioStore, alignments: Path
) -> None:
    head = PhoneDistillation([str(alignments)], 8, 23.4375, 24_000)
    head.prepare([store])
    torch.nn.init.zeros_(head.head.weight)
    torch.nn.init.zeros_(head.head.bias)
    quantized = torch.randn(1, 8, 4, requires_grad=True)
    place = CropPlace(0, 0, 0, 4096, 4096)
    loss = head.loss(quantized, torch.zeros(1, 4096), positions=[place])
    assert float(loss.detach()) == pytest.approx(math.log(3))
    torch.nn.init.normal_(head.head.weight)
    head.loss(quantized, torch.zeros(1, 4096), positions=[place]).backward()
    assert quantized.grad is not None
    assert float(quantized.grad.abs().sum()) > 0
    beyond = head.loss(quantized, torch.zeros(1, 4096), positions=[replace(place, start=480_000)])
    assert float(beyond.detach()) == 0.0
    with pytest.raises(ValueError, match="expected positions of the crops"):
        head.loss(quantized, torch.zeros(1, 4096))


def test_a_phase_learns_phones(store: AudioStore, alignments: Path, tmp_path: Path) -> None:
    fit = FitConfig(seed=1, log_every=1, validate_every=4, checkpoint_every=4)
    with few_latents():
        phase = phase_of(alignments)
        module = fit_codec_phase(new_codec(), phase, store, store, tmp_path / "run", config=fit)
    lines = metrics_of(tmp_path / "run")
    assert [line["split"] for line in lines].count("valid") == 1
    assert all(0 < line["semantic"] < 3 for line in lines)
    kept = load_file(tmp_path / "run" / "training.safetensors")
    assert kept["distillation.phones"].tolist() == [0, 7, 41]
    assert kept["distillation.head.weight"].shape == (3, 8)
    # The head of another phase with the same phones is gone on from, that of others is not.
    assert load_auxiliary_weights(module, tmp_path / "run") == []


def test_validation_has_no_phones_where_no_clip_is_aligned(
    store: AudioStore, alignments: Path
) -> None:
    head = PhoneDistillation([str(alignments)], 8, 23.4375, 24_000)

    others: Any = SimpleNamespace(rows=[{"id": "unknown"}])
    assert head.of_clips([others], [CropPlace(0, 0, 0, 10, 10)]) is None
    assert head.of_clips([store], [CropPlace(0, 0, 0, 10, 10)]) is not None
    with pytest.raises(AlignmentsError, match="phones of some of the 1 training clips"):
        head.prepare([others])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one clip, got none"),
        ([{"id": "x"}], "expected rows with id and units"),
        ([{"id": "x", "units": []}], "expected rows with id and units"),
        ([{"id": "x", "units": [[1, 0.0]]}], "expected rows with id and units"),
        ([{"id": "x", "units": [["a", 0.0, 1.0]]}], "expected rows with id and units"),
        ([{"id": "x", "units": [[1, 0.5, 0.2]]}], "expected rows with id and units"),
        ([{"id": 3, "units": UNITS}], "expected rows with id and units"),
        ([{"id": "x", "units": UNITS}] * 2, "every clip once, got 'x' again"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_file_of_alignments_is_refused(
    rows: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(AlignmentsError, match=message):
        PhoneTargets([write(tmp_path / "a.jsonl", *rows)])


def test_alignments_belong_to_the_teacher_of_phones_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"semantic\.alignments: expected files for the teacher"):
        SemanticConfig(teacher="phones")
    with pytest.raises(ValueError, match=r"semantic\.alignments: expected files for the teacher"):
        SemanticConfig(teacher="mfcc", alignments=["a"])
    config = CodecConfig.preset("tiny")
    with pytest.raises(ValueError, match=r"semantic\.alignments: expected a file at .*nowhere"):
        check_phase(config, phase_of(tmp_path / "nowhere"))
