from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from codec.runtime.run_lock import InUseError, locked
from codec.training.config import PhaseConfig
from recipes import run_all
from recipes.runner import inputs, stages
from recipes.runner.config import Config
from recipes.runner.schema import STAGE_NAMES
from recipes.runner.stages import StageError, run_stage, run_stages, stage_folder, write_metrics


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every stage replaced by one that notes its call, and dies once when `corpus` says so.

    Corpora and codecs of these runs do not exist, and are not looked for.
    """
    made: list[str] = []

    def load(module: str) -> SimpleNamespace:
        name = module.removeprefix("recipes.")

        def main(config: Config) -> Path:
            made.append(name)
            folder = stage_folder(config, name)
            (folder / "result").write_text(f"call {len(made)}")
            if made.count(name) == 1 and config.corpus == f"dies in {name}":
                raise KeyboardInterrupt
            write_metrics(folder, {"calls": len(made)})
            return folder

        return SimpleNamespace(main=main)

    monkeypatch.setattr(stages, "importlib", SimpleNamespace(import_module=load))
    monkeypatch.setattr(inputs, "INPUTS", {})
    return made


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    return make_config("anything")


def test_all_stages_run_in_their_own_order(config: Config, calls: list[str]) -> None:
    reports = run_stages(config, list(reversed(STAGE_NAMES)))
    assert calls == list(STAGE_NAMES)
    assert [report.status for report in reports] == ["done"] * len(STAGE_NAMES)


def test_every_stage_is_described_and_comes_after_what_it_reads() -> None:
    assert tuple(stages.STAGES) == STAGE_NAMES
    for index, stage in enumerate(stages.STAGES.values()):
        assert set(stage.upstream) <= set(STAGE_NAMES[:index])
        assert {field.name for field in dataclasses.fields(Config)} >= set(stage.settings)


def test_done_json_says_what_was_made(config: Config, calls: list[str]) -> None:
    report = run_stage(config, "prepare")
    done = json.loads((report.folder / "done.json").read_text())
    assert done["metrics"] == report.metrics == {"calls": 1}
    assert done["signature"] == stages.signature(stages.settings_of(config, "prepare"))
    assert done["seconds"] == report.seconds
    assert not done["resumed"]


def test_a_finished_stage_is_skipped(
    config: Config, calls: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_stage(config, "prepare")
    second = run_stage(config, "prepare")
    assert calls == ["prepare"]
    assert (second.status, second.metrics, second.seconds) == ("skipped", *_figures(first))
    assert "skipped" in capsys.readouterr().err


def _figures(report: stages.StageReport) -> tuple[dict, float]:
    return report.metrics, report.seconds


def test_a_stage_that_was_cut_off_is_called_again(
    make_config: Callable[..., Config], calls: list[str]
) -> None:
    config = make_config("dies in prepare")
    with pytest.raises(KeyboardInterrupt):
        run_stage(config, "prepare")
    assert not (stage_folder(config, "prepare") / "done.json").exists()
    report = run_stage(config, "prepare")
    assert (calls, report.status) == (["prepare", "prepare"], "done")
    assert json.loads((report.folder / "done.json").read_text())["resumed"]


@pytest.mark.parametrize("died", [False, True])
def test_other_settings_are_refused_by_name(
    make_config: Callable[..., Config], calls: list[str], died: bool
) -> None:
    corpus = "dies in prepare" if died else "lives"
    try:
        run_stage(make_config(corpus), "prepare")
    except KeyboardInterrupt:
        assert died
    with pytest.raises(StageError, match=r"prepare\.limit: None -> 5") as caught:
        run_stage(make_config(corpus, "prepare.limit=5"), "prepare")
    assert "run=" in str(caught.value)
    assert "delete" in str(caught.value)


def test_a_change_upstream_is_refused_before_any_work(
    make_config: Callable[..., Config], calls: list[str]
) -> None:
    run_stages(make_config("x"), ["prepare", "train_codec"])
    with pytest.raises(StageError, match=r"train_codec: .*prepare\.limit"):
        run_stages(make_config("x", "prepare.limit=5"), ["train_codec", "train_slm"])
    assert calls == ["prepare", "train_codec"]


def test_settings_that_change_no_result_may_change(
    make_config: Callable[..., Config], calls: list[str]
) -> None:
    run_stage(make_config("x"), "prepare")
    other = make_config(
        "x", "threads=2", "stages=prepare", "corpora.folder=y", "espeak.test_voices=3"
    )
    assert run_stage(other, "prepare").status == "skipped"


def test_auto_goes_on_in_the_precision_with_which_the_folder_was_begun(
    make_config: Callable[..., Config], calls: list[str]
) -> None:
    begun = make_config("x", "train_codec.precision=32-true", "train_slm.bf16=true")
    names = list(STAGE_NAMES[: STAGE_NAMES.index("train_slm") + 1])
    run_stages(begun, names)
    later = make_config("x", "train_codec.precision=auto", "train_slm.bf16=auto")
    assert {each.status for each in run_stages(later, names)} == {"skipped"}
    assert (later.train_codec.precision, later.train_slm.bf16) == ("32-true", True)
    with pytest.raises(StageError, match=r"train_codec\.precision: '32-true' -> 'bf16-mixed'"):
        run_stages(make_config("x", "train_codec.precision=bf16-mixed"), names)


def test_the_order_and_the_settings_of_phases_count(
    make_config: Callable[..., Config], calls: list[str]
) -> None:
    first, second = "train_codec.phases.a.steps=5", "train_codec.phases.b.steps=5"
    run_stages(make_config("x", first, second), ["prepare", "train_codec"])
    for overrides in ((second, first), (first, second, "train_codec.phases.b.steps=6")):
        with pytest.raises(StageError, match=r"train_codec\.phases"):
            run_stage(make_config("x", *overrides), "train_codec")


def test_a_stage_run_again_invalidates_what_follows(config: Config, calls: list[str]) -> None:
    run_stages(config, ["prepare", "train_codec"])
    (stage_folder(config, "prepare") / "done.json").unlink()
    run_stage(config, "prepare")
    with pytest.raises(StageError, match=r"train_codec: .*prepare\.finished"):
        run_stage(config, "train_codec")


def test_a_stage_whose_input_is_missing_says_which_to_run(config: Config) -> None:
    with pytest.raises(StageError, match=r"train_codec reads what prepare makes.*stages=prepare"):
        run_stage(config, "train_codec")
    assert not stage_folder(config, "train_codec").exists()


def test_json_is_one_object_on_stdout(
    config: Config, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "settings.yaml"), "corpus=x", f"run={config.run}"]
    assert run_all.main([*arguments, "--json", "stages=prepare,train_codec"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["run"] == config.run
    assert list(result["stages"]) == ["prepare", "train_codec"]
    assert result["stages"]["train_codec"]["metrics"] == {"calls": 2}
    assert (Path(config.run) / "config.yaml").is_file()


def test_an_interrupt_is_one_line_with_the_command_that_goes_on(
    config: Config, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in STAGE_NAMES:
        words = [
            str(tmp_path / "settings.yaml"),
            f"corpus=dies in {name}",
            f"run={tmp_path / name}",
        ]
        assert run_all.main(words) == 130
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: interrupted; go on with: python -m recipes.run_all ")
        assert f"'corpus=dies in {name}'" in last
        calls.clear()


def test_figures_are_printed_as_a_table(
    config: Config, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_all.main([str(tmp_path / "settings.yaml"), "corpus=x", f"run={config.run}"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in STAGE_NAMES)


def test_a_mistake_ends_with_status_2_and_one_line(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "settings.yaml")
    assert run_all.main([path, "corpus=x", f"run={config.run}", "prepare.limitt=5"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: prepare.limitt")
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_a_disk_that_fails_ends_with_status_1(
    config: Config, calls: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way of the run's folder")
    run = f"run={tmp_path / 'file' / 'run'}"
    assert run_all.main([str(tmp_path / "settings.yaml"), "corpus=x", run]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_all.main(["--version"])
    assert capsys.readouterr().out.startswith("python -m recipes.run_all ")


def test_help_lists_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_all.main(["--help"])
    output = capsys.readouterr().out
    assert all(name in output for name in STAGE_NAMES)
    assert "key=value" in output


def test_a_setting_that_came_later_had_its_default(config: Config, calls: list[str]) -> None:
    config.train_codec.phases = {"codec": PhaseConfig()}
    for name in ("prepare", "train_codec"):
        run_stage(config, name)
    path = stage_folder(config, "train_codec") / "settings.json"
    settings = json.loads(path.read_text())
    for key in ("train_codec.phases.codec.perceptual.model", "codec.speech_encoder_from"):
        del settings[key]
    path.write_text(json.dumps(settings))
    assert run_stage(config, "train_codec").status == "skipped"
    config.train_codec.phases["codec"].perceptual.model = "whisper"
    with pytest.raises(StageError, match=r"perceptual.model: '' -> 'whisper'"):
        run_stage(config, "train_codec")


def test_settings_that_were_refused_before_any_work_do_not_bind_the_folder(
    make_config: Callable[..., Config], calls: list[str]
) -> None:
    folder = stage_folder(make_config("x"), "prepare")
    folder.mkdir(parents=True)
    before = stages.settings_of(make_config("wrong/path"), "prepare")
    (folder / "settings.json").write_text(json.dumps(before))
    (folder / "config.yaml").write_text("")
    (report,) = run_stages(make_config("x"), ["prepare"])
    assert report.status == "done"
    assert not json.loads((folder / "done.json").read_text())["resumed"]


def test_a_stage_that_another_process_works_in_is_refused_without_advice_to_delete(
    make_config: Callable[..., Config], calls: list[str]
) -> None:
    config = make_config("x")
    with (
        locked(Path(config.run), ".prepare.lock"),
        pytest.raises(InUseError, match=r"prepare: .*in use by process") as caught,
    ):
        run_stage(config, "prepare")
    assert "delete" not in str(caught.value)
    assert calls == []
