"""Runs of all stages that meet kills, a full disk and a folder that cannot be written."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec.files import is_partial, read_json
from recipes.run_all import main
from tests.support import forked
from tests.support.refusing_disks import full_disk, needs_limits, read_only

ROOT = Path(__file__).resolve().parents[2]
SMOKE = str(ROOT / "recipes/configs/smoke.yaml")
pytestmark = [needs_limits, pytest.mark.slow]
# What must come out the same, by suffix: weights, stores, sounds, text models.
KINDS = {".safetensors", ".i16", ".u16", ".npy", ".flac", ".model"}


@pytest.fixture(autouse=True)
def few_latents() -> None:
    """In place of that of all tests: every process here reads as many crops."""


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, make_waveform: Callable[..., np.ndarray]
) -> list[str]:
    """Words of the command but for the run, on a corpus of tones."""
    corpus = tmp_path_factory.mktemp("tones")
    lines = []
    for split, count in (("train", 6), ("valid", 3), ("test", 2)):
        for index in range(count):
            name = f"{split}_{index}"
            waveform = make_waveform(0.5, 24_000, pitch=100 + 20 * index, seed=index)
            soundfile.write(corpus / f"{name}.wav", waveform, 24_000)
            row = {"id": name, "audio": f"{name}.wav", "duration": 0.5, "split": split}
            row |= {"text": f"sentence number {index}", "speaker": f"s{index % 2}", "lang": "en"}
            lines.append(json.dumps(row) + "\n")
    (corpus / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")
    return [
        SMOKE,
        f"corpus={corpus}",
        "threads=1",
        "evaluate.words=[sentence,number]",
        "generate.min_prompt_seconds=0.4",
        "generate.given_seconds=0.2",
        "generate.continue_seconds=0.2",
        "train_text.vocab_size=32",
    ]


@pytest.fixture(scope="module")
def whole(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a run gives that nothing disturbs."""
    run = tmp_path_factory.mktemp("whole")
    assert main([*settings, f"run={run}"]) == 0
    return outcome(run)


def outcome(run: Path) -> dict[str, object]:
    """Contents of a run's files, and the figures of its scores, by name."""
    names = {path.relative_to(run).as_posix(): path for path in sorted(run.rglob("*"))}
    found: dict[str, object] = {
        name: path.read_bytes() for name, path in names.items() if path.suffix in KINDS
    }
    scores = {name: path for name, path in names.items() if path.name == "summary.json"}
    return found | {name: read_json(path)["metrics"] for name, path in scores.items()}


def differing(run: Path, whole: dict[str, object]) -> list[str]:
    """Names of what is not as in the run that nothing has disturbed."""
    found = outcome(run)
    return sorted(name for name in found.keys() | whole if found.get(name) != whole.get(name))


def main_until_killed(arguments: list[str], moves: int) -> int:
    """The command, which is killed where so many files have taken their names."""
    replace = os.replace
    left = iter(range(moves))

    def fatal(source: str, target: str) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = fatal
    return main(arguments)


def test_a_run_that_is_killed_at_any_of_its_files_is_finished_by_the_same_command(
    settings: list[str], whole: dict[str, object], tmp_path: Path
) -> None:
    command, stages = [*settings, f"run={tmp_path / 'run'}"], set()
    for kill in range(1, 40):
        status = forked.run(main_until_killed, command, 9 * kill, output=tmp_path / "printed.txt")
        if status == 0:
            break
        assert status == -signal.SIGKILL, forked.printed(tmp_path / "printed.txt")
        begun = {path.parent.name for path in (tmp_path / "run").glob("*/settings.json")}
        done = {path.parent.name for path in (tmp_path / "run").glob("*/done.json")}
        stages |= begun - done
    assert status == 0
    assert len(stages) >= 4, stages
    assert not differing(tmp_path / "run", whole)


def test_a_run_goes_on_to_the_bit_after_a_disk_that_was_full_at_any_of_its_files(
    settings: list[str],
    whole: dict[str, object],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    command = [*settings, f"run={run}"]
    told = []
    for size in (300, 3_000, 12_000, 40_000, 100_000, 200_000, 400_000, 800_000, 1 << 30):
        with full_disk(size):
            status = main(command)
        said = capsys.readouterr().err
        assert not [path for path in run.rglob("*") if is_partial(path)]
        if status == 0:
            break
        assert status == 1, said
        assert "Traceback" not in said
        (line,) = [each for each in said.splitlines() if each.startswith("error: ")]
        assert "too large" in line or "cannot be written" in line, line
        told.append(line)
    assert status == 0
    assert len(told) >= 4, told

    assert not differing(run, whole), told


def test_a_run_in_a_folder_that_cannot_be_written_says_so_and_leaves_nothing(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with read_only(run):
        assert main([*settings, f"run={run}"]) == 1
    said = capsys.readouterr().err
    assert "Permission denied" in said
    assert str(run) in said
    assert "Traceback" not in said
    assert not any(run.iterdir())
