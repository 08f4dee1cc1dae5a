"""Checkpoints of phases: which are gone on from, and which are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore, AudioStoreWriter
from codec.runtime.run_lock import InUseError, locked
from codec.training.checkpoint import check_finished
from codec.training.config import FitConfig, LossWeights, PhaseConfig
from codec.training.fit import fit_codec_phase
from codec.training.module import DivergedError
from tests.support.builders import BEFORE_VOCODER

FIT = FitConfig(seed=1, log_every=1, validate_every=4, checkpoint_every=2)
PHASE = PhaseConfig(
    name="codec",
    train=BEFORE_VOCODER,
    steps=2,
    batch_size=2,
    crop_codes=4,
    quantize_from=0,
    warmup_steps=0,
    weights=LossWeights(mel=1.0, vq=1.0),
)


def train(data: AudioStore, folder: Path, config: FitConfig = FIT, **changes: object) -> HHCodec:
    torch.manual_seed(5)
    codec = HHCodec(CodecConfig.preset("tiny"))
    fit_codec_phase(codec, replace(PHASE, **changes), data, data, folder, config=config)  # type: ignore[arg-type]
    return codec


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[[int], AudioStore]:
    """A maker of stores of equal names and lengths, with other samples for every seed."""

    def make(seed: int) -> AudioStore:
        draw = np.random.default_rng(seed)
        with AudioStoreWriter(tmp_path / f"store{seed}", 24_000) as writer:
            for index in range(3):
                wave = 0.1 * draw.standard_normal(12_000).astype(np.float32)
                writer.add(wave, {"id": f"clip{index}"})
        return AudioStore(tmp_path / f"store{seed}")

    return make


def test_a_phase_goes_on_only_with_its_own_data(
    make_store: Callable[[int], AudioStore], tmp_path: Path
) -> None:
    folder, data = tmp_path / "run", make_store(0)
    train(data, folder)
    before = (folder / "last.ckpt").read_bytes()
    with pytest.raises(ValueError, match=r"trained on other data: expected sources"):
        train(make_store(1), folder, steps=4)
    with pytest.raises(ValueError, match=r"expected batch_size 2, got 3"):
        train(data, folder, steps=4, batch_size=3)
    with pytest.raises(ValueError, match=r"expected seed 1, got 2"):
        train(data, folder, replace(FIT, seed=2), steps=4)
    assert (folder / "last.ckpt").read_bytes() == before
    moved = data.folder.rename(tmp_path / "moved")
    train(AudioStore(moved), folder, steps=4)


def test_a_checkpoint_without_a_description_goes_on_with_a_warning(
    make_store: Callable[[int], AudioStore], tmp_path: Path
) -> None:
    data = make_store(0)
    train(data, tmp_path / "b")
    path = tmp_path / "b" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    del saved["data"]
    torch.save(saved, path)
    (tmp_path / "b" / "checkpoint.json").unlink()
    with pytest.warns(UserWarning, match="does not hold the description of its data"):
        train(data, tmp_path / "b", steps=3)
    saved = torch.load(path, weights_only=True)
    assert saved["global_step"] == 3
    assert saved["data"]["batch_size"] == 2


def test_a_lost_checkpoint_is_reported_and_the_metrics_stay(
    make_store: Callable[[int], AudioStore], tmp_path: Path
) -> None:
    data, folder = make_store(0), tmp_path / "run"
    train(data, folder)
    (folder / "last.ckpt").unlink()
    before = (folder / "metrics.jsonl").read_text()
    with pytest.raises(ValueError, match=r"expected .*last\.ckpt, .* has 2 steps, got no such"):
        train(data, folder, steps=4)
    assert (folder / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize("steps", [1, 2])
def test_weights_that_are_not_finite_are_never_saved(
    make_store: Callable[[int], AudioStore], tmp_path: Path, steps: int
) -> None:
    """The loss before an update of a huge rate is finite, and only then is what it gives not."""
    with pytest.raises(DivergedError, match=r"codec: .*finite"):
        train(make_store(0), tmp_path, steps=steps, learning_rate=1e6)
    assert not (tmp_path / "last.ckpt").exists()


def test_a_poisoned_checkpoint_is_not_gone_on_from(
    make_store: Callable[[int], AudioStore], tmp_path: Path
) -> None:
    data = make_store(0)
    train(data, tmp_path)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    next(v for v in saved["state_dict"].values() if v.is_floating_point()).fill_(float("nan"))
    torch.save(saved, tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="expected finite weights"):
        train(data, tmp_path, steps=4)


def test_two_trainings_in_one_folder_are_refused(
    make_store: Callable[[int], AudioStore], tmp_path: Path
) -> None:
    with locked(tmp_path), pytest.raises(InUseError, match="in use by process"):
        train(make_store(0), tmp_path)


def test_a_finished_phase_of_other_clips_is_not_built_on(
    make_store: Callable[[int], AudioStore], tmp_path: Path
) -> None:
    data = make_store(0)
    check_finished(tmp_path, [data])  # of an earlier version: nothing is noted
    train(data, tmp_path)
    check_finished(tmp_path, [data])
    with pytest.raises(ValueError, match="was trained on other clips"):
        check_finished(tmp_path, [make_store(1)])


def test_a_damaged_checkpoint_is_named(
    make_store: Callable[[int], AudioStore], tmp_path: Path
) -> None:
    data = make_store(0)
    train(data, tmp_path)
    path = tmp_path / "last.ckpt"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match=f"{path}: expected an intact torch file"):
        train(data, tmp_path, steps=4)
