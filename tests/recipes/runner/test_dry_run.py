"""`--dry-run`, and what is refused before any work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codec.files import write_json
from recipes import run_all
from recipes.runner.config import Config
from recipes.runner.dry_run import plan_run
from recipes.runner.inputs import missing_inputs
from recipes.runner.schema import STAGE_NAMES
from recipes.runner.stages import StageError, run_stages, settings_of, stage_folder

PHASE = "train_codec.phases.a={steps: 1, train: [decoder], weights: {mel: 1.0}}"
LISTENING = "{train: [decoder], weights: {perceptual: 1.0}, perceptual: {model: /nowhere}}"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "manifest.jsonl").touch()
    return folder


def finish(config: Config, name: str) -> None:
    """Leave the folder of a finished stage."""
    folder = stage_folder(config, name)
    folder.mkdir(parents=True)
    (folder / "result").touch()
    write_json(folder / "settings.json", settings_of(config, name))
    write_json(folder / "done.json", {"seconds": 3, "metrics": {}, "finished": name})


def statuses(plan: dict[str, Any]) -> list[str]:
    return [each["status"] for each in plan["stages"].values()]


def test_a_new_run_has_everything_to_do_and_nothing_is_written(
    make_config: Callable[..., Config], corpus: Path
) -> None:
    config = make_config(corpus, PHASE)
    plan = plan_run(config, STAGE_NAMES)
    assert statuses(plan) == ["to do"] * len(STAGE_NAMES)
    assert plan["missing"] == []
    assert "a/last.ckpt" in plan["stages"]["train_codec"]["writes"]
    assert plan["settings"]["train_codec"]["phases"]["a"]["steps"] == 1
    assert not Path(config.run).exists()


def test_stages_that_are_done_or_begun_are_told_apart(
    make_config: Callable[..., Config], corpus: Path
) -> None:
    config = make_config(corpus, PHASE)
    finish(config, "prepare")
    begun = stage_folder(config, "train_codec")
    (begun / "a").mkdir(parents=True)
    (begun / "a" / "last.ckpt").touch()
    plan = plan_run(config, ["prepare", "train_codec", "encode_corpus"])
    assert statuses(plan) == ["done", "resume", "to do"]
    assert plan["stages"]["prepare"]["writes"] == []


def test_a_folder_of_other_settings_is_refused_with_its_reason(
    make_config: Callable[..., Config], corpus: Path
) -> None:
    finish(make_config(corpus, PHASE), "prepare")
    plan = plan_run(make_config(corpus, PHASE, "prepare.limit=5"), ["prepare"])
    assert statuses(plan) == ["refused"]
    assert "prepare.limit: None -> 5" in plan["missing"][0]


def test_what_was_made_of_a_stage_that_is_run_again_is_refused(
    make_config: Callable[..., Config], corpus: Path
) -> None:
    config = make_config(corpus, PHASE)
    for name in ("prepare", "train_codec"):
        finish(config, name)
    (stage_folder(config, "prepare") / "done.json").unlink()
    plan = plan_run(config, ["prepare", "train_codec"])
    assert statuses(plan) == ["resume", "refused"]


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ([], "train_codec.phases: expected at least one phase, or codec.start"),
        ([PHASE, "corpus=/nowhere"], "corpus: expected espeak"),
        (
            [PHASE, "corpus=libritts", "corpora.folder=/nowhere"],
            "corpora.folder: expected LibriTTS",
        ),
        ([PHASE, "further_corpora=/nowhere"], "further_corpora: expected a folder"),
        (["codec.start=runs/none/train_codec/model"], "codec.start: expected a model's folder"),
        ([PHASE, "train_codec.sources.x.corpus=/nowhere"], "train_codec.sources.x.corpus"),
        (
            [PHASE, "train_codec.sources.x={corpus: /, select: {split: train}}"],
            "train_codec.sources.x.corpus: expected a manifest, whose rows have split, got the",
        ),
        ([PHASE, "train_slm.start=no-such-lm"], "train_slm.start: .*hh-mini-slm"),
        ([PHASE, "train_slm.resume_from=/nowhere.ckpt"], "train_slm.resume_from: expected"),
        ([PHASE, "train_codec.devices=2", "train_slm.devices=2"], "one stage of several devices"),
        # What was found out after prepare, or after a first phase.
        ([PHASE, "codec.preset=maxi"], "codec config preset: expected one of"),
        (
            [PHASE, "codec.overrides.quantizer={kind: fsq, num_stages: 1, codebook_size: 8}"],
            "codec config quantizer.levels: expected product 8",
        ),
        ([PHASE, "codec.overrides.encoder.speech_layers=1"], "codec.speech_encoder_from: expected"),
        ([PHASE, "codec.overrides.voice.tokens=8"], "voice.tokens: expected 0 for encode_corpus"),
        ([PHASE, "codec.speech_encoder_from=/nowhere"], "codec.speech_encoder_from: .*/nowhere"),
        (
            [PHASE, f"train_codec.phases.b={LISTENING}"],
            "phase b: perceptual.model: expected a folder of a Whisper",
        ),
        (
            [PHASE, "train_codec.phases.b={train: [vocoder], weights: {mel: 1.0}}"],
            "phase b: train: expected parts that a loss with a weight above 0 reaches",
        ),
    ],
)
def test_what_is_missing_is_refused_before_any_work(
    make_config: Callable[..., Config], corpus: Path, overrides: list[str], reason: str
) -> None:
    config = make_config(corpus, *overrides)
    assert len(list(missing_inputs(config, STAGE_NAMES))) == 1
    with pytest.raises(StageError, match=reason):
        run_stages(config, STAGE_NAMES)
    assert not Path(config.run).exists()


def test_a_bundled_codec_and_one_of_a_hub_are_taken_for_there(
    make_config: Callable[..., Config], corpus: Path
) -> None:
    for start in ("hh-mini-24k", "someone/their-codec"):
        config = make_config(corpus, f"codec.start={start}")
        assert list(missing_inputs(config, STAGE_NAMES)) == []


def test_the_command_prints_the_plan_and_fails_where_something_is_missing(
    make_config: Callable[..., Config],
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = make_config(corpus)
    words = [str(tmp_path / "settings.yaml"), f"run={config.run}", "--dry-run"]
    assert run_all.main([*words, f"corpus={corpus}", PHASE]) == 0
    output = capsys.readouterr().out
    assert "prepare        to do" in output
    assert "# nothing is missing" in output
    assert run_all.main([*words, "corpus=/nowhere", PHASE, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["missing"][0].startswith("corpus: expected")
    assert not Path(config.run).exists()


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_a_mistyped_setting_does_not_wait_for_torch(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("corpus: x\nrun: y\n")
    # The module is run as `python -m` does, and then asked what it has loaded.
    code = f"""
import runpy, sys
sys.argv = ["x", {str(tmp_path / "x.yaml")!r}, "seeed=3"]
try:
    runpy.run_module("recipes.{name}", run_name="__main__", alter_sys=True)
except SystemExit as error:
    print(error.code, sorted({{"torch", "lightning", "scipy", "numpy"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "2 []\n", result.stderr
    assert "Did you mean: 'seed'" in result.stderr
