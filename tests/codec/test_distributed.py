"""Two processes on the CPU against one: the same steps, weights, metrics and checkpoints."""

from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codec.audio.store import AudioStoreWriter
from codec.training.config import FitConfig
from codec.training.fit import fit_codec_phase
from codec.training.module import CodecTraining
from tests.codec import parallel_run
from tests.support import forked
from tests.support.builders import metrics_of

# Trainings of two processes.
pytestmark = pytest.mark.launches

# Sums round in another order; Adam makes more of that the smaller a gradient is, so weights are
# compared by how far apart they are, as a share of how far training moved them.
FIGURES, WEIGHTS = 5e-3, 0.02


def weights_of(folder: Path) -> dict[str, Tensor]:
    """What a checkpoint holds of real numbers, averages included."""
    state = torch.load(folder / "last.ckpt", weights_only=True)
    values = {**state["state_dict"], **state["average"]}
    return {
        name: value.double()
        for name, value in values.items()
        if torch.is_tensor(value) and value.is_floating_point()
    }


def assert_same_metrics(one: Path, other: Path) -> None:
    """Every line but its clock: losses, gradients, use of the codebook, validation, balance."""
    first, second = metrics_of(one), metrics_of(other)
    assert [(x["step"], x["split"]) for x in first] == [(x["step"], x["split"]) for x in second]
    for line, twin in zip(first, second, strict=True):
        assert line.keys() == twin.keys()
        for name in line.keys() - {"step", "split", "notice", "seconds_per_step"}:
            where = f"{line['split']} {name} at step {line['step']}"
            assert twin[name] == pytest.approx(line[name], rel=FIGURES, abs=1e-4), where


def assert_same_weights(one: Path, other: Path, start: dict[str, Tensor]) -> None:
    """Part by part of codec, discriminators and the student's head."""
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    moved: dict[str, float] = defaultdict(float)
    apart: dict[str, float] = defaultdict(float)
    for name, value in first.items():
        part = ".".join(name.split(".")[:2])
        before = start.get(name, start.get(name.replace("average.", "codec.")))
        assert before is not None
        moved[part] += float((value - before).square().sum())
        apart[part] += float((value - second[name]).square().sum())
    for part in moved:
        assert apart[part] ** 0.5 <= WEIGHTS * moved[part] ** 0.5, part


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, make_waveform: Callable[..., Any]) -> Path:
    """Folders of trainings: `one_*` of one process, `two_*` of two, `grown` and `shrunk` of both.

    Some clips are shorter than a crop, so that losses are over unequal numbers of frames.
    """
    folder = tmp_path_factory.mktemp("parallel")
    with AudioStoreWriter(folder / "audio", 24_000) as writer:
        for seed, seconds in enumerate((1.0, 0.2, 0.9, 0.25, 0.3, 1.2)):
            waveform = make_waveform(seconds, pitch=90 + 30 * seed, seed=seed)
            writer.add(waveform, {"id": str(seed)})
    train = parallel_run.train
    train(folder / "audio", folder / "one_joint", "joint", 6)
    train(folder / "audio", folder / "grown", "joint", 2)
    jobs = [
        (folder / "two_joint", "joint", 6, True),
        (folder / "grown", "joint", 6, False),
        (folder / "shrunk", "joint", 4, False),
    ]
    if find_spec("swift_f0") is not None:
        train(folder / "audio", folder / "one_classic", "classic", 4)
        jobs.append((folder / "two_classic", "classic", 4, False))
    printed = folder / "printed"
    statuses = forked.run_ranks(parallel_run.train_all, folder / "audio", jobs, output=printed)
    assert statuses == [0, 0], forked.printed(printed)
    train(folder / "audio", folder / "shrunk", "joint", 6)
    return folder


def start_of(case: str) -> dict[str, Tensor]:
    phase = parallel_run.JOINT if case == "joint" else parallel_run.CLASSIC
    return CodecTraining(parallel_run.new_codec(case), phase, parallel_run.FIT.seed).state_dict()


@pytest.mark.slow
def test_two_processes_train_as_one(runs: Path) -> None:
    """With noise, dropout, the codebook's start, discriminators, a teacher, averaged weights.

    The two were cut off on their way, the one was not.
    """
    assert_same_metrics(runs / "one_joint", runs / "two_joint")
    assert_same_weights(runs / "one_joint", runs / "two_joint", start_of("joint"))


@pytest.mark.slow
def test_two_processes_average_codes_and_unequal_shares_as_one(runs: Path) -> None:
    """A classic codebook, and losses over the frames that are voiced or not padding."""
    pytest.importorskip("swift_f0")
    assert_same_metrics(runs / "one_classic", runs / "two_classic")
    assert_same_weights(runs / "one_classic", runs / "two_classic", start_of("classic"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grown", "shrunk"])
def test_a_checkpoint_continues_at_another_number_of_processes(runs: Path, name: str) -> None:
    """From one to two, before there are codes, and back, after; the metrics go on as well."""
    assert_same_weights(runs / "one_joint", runs / name, start_of("joint"))
    last = [metrics_of(runs / each)[-1] for each in ("one_joint", name)]
    for key in ("mel", "vq", "codes_used", "semantic"):
        assert last[1][key] == pytest.approx(last[0][key], rel=FIGURES), key


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path: Path) -> None:
    codec = parallel_run.new_codec("joint")
    for config, part in (
        (FitConfig(devices=3), "phase joint: batch_size: expected a multiple of 3 processes"),
        (FitConfig(devices=2, num_nodes=4), "multiple of 8 processes"),
    ):
        with pytest.raises(ValueError, match=part):
            fit_codec_phase(codec, parallel_run.JOINT, [], [], tmp_path / "run", config=config)
    assert not (tmp_path / "run").exists()
