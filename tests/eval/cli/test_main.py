"""The command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from eval.cli.main import COMMANDS, EXAMPLES, main
from eval.cli.options import failure_lines
from eval.metrics.registry import (
    INTELLIGIBILITY,
    METRICS,
    RECONSTRUCTION,
    WHERE_READY,
    select_metrics,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folders(
    make_speech: Callable[..., np.ndarray], add_noise: Callable[..., np.ndarray], tmp_path: Path
) -> Path:
    for name in ("ref", "hyp"):
        (tmp_path / name / "speaker").mkdir(parents=True)
    for seed in range(3):
        clip = make_speech(1.2, seed=seed)
        soundfile.write(tmp_path / "ref" / "speaker" / f"{seed}.flac", clip, 24000)
        soundfile.write(tmp_path / "hyp" / "speaker" / f"{seed}.wav", add_noise(clip, 15), 24000)
    return tmp_path


def test_codec_scores_folders_and_prints_one_object(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["codec", str(folders / "ref"), str(folders / "hyp"), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert status == 0
    families = {name.split(".")[0] for name in printed["metrics"]}
    assert families >= set(RECONSTRUCTION)
    assert families <= {*RECONSTRUCTION, *WHERE_READY}
    assert printed["metrics"]["stoi.pystoi04"]["n_ok"] == 3
    out = folders / "hyp.eval"
    assert printed["report"] == str(out / "report.html")
    html = (out / "report.html").read_text(encoding="utf-8")
    assert html.count("<audio") == 6
    stored = json.loads((out / "summary.json").read_text())
    assert stored["metrics"] == printed["metrics"]


def test_a_missing_file_makes_the_exit_status_one(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folders / "hyp" / "speaker" / "1.wav").unlink()
    status = main(["codec", str(folders / "ref"), str(folders / "hyp"), "--metrics", "stoi"])
    assert status == 1
    assert "2/3" in capsys.readouterr().out


def test_the_terminal_says_why_clips_failed(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(folders / "hyp" / "speaker" / "2.wav", np.zeros(24000), 24000)
    (folders / "hyp" / "speaker" / "1.wav").unlink()
    assert main(["codec", str(folders / "ref"), str(folders / "hyp"), "--metrics", "mel_l1"]) == 1
    printed = capsys.readouterr().out
    for name in (1, 2):
        assert re.search(rf"failed 1 \(speaker/{name}\): .+", printed)


def test_failures_are_grouped_by_reason() -> None:
    failures = [{"id": f"a{n}", "reason": "too short"} for n in range(5)]
    failures += [{"id": f"b{n}", "reason": f"other {n}"} for n in range(6)]
    lines = failure_lines(failures)
    assert lines[0] == "failed 5 (a0, a1, a2, ...): too short"
    assert lines[-1] == "failed 2 more: see the report"
    assert len(lines) == 6


def test_word_error_rates_without_texts_stop_before_anything_is_scored(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["codec", str(folders / "ref"), str(folders / "hyp"), "--metrics", "mel_l1,wer"]
    assert main(call) == 2
    assert "expected --texts FILE" in capsys.readouterr().err
    texts = folders / "texts.jsonl"
    texts.write_text('{"id": "of another folder", "text": "one"}\n')
    assert main([*call, "--texts", str(texts)]) == 2
    assert "expected items with a text for wer, got 3 items without" in capsys.readouterr().err
    assert not (folders / "hyp.eval").exists()


def test_a_default_folder_keeps_the_summary_of_other_metrics(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["codec", str(folders / "ref"), str(folders / "hyp"), "--metrics"]
    assert main([*call, "mel_l1"]) == 0
    before = (folders / "hyp.eval" / "summary.json").read_bytes()
    assert main([*call, "mcd_mel"]) == 2
    assert re.search(r"mel_l1\.v1.* --out", capsys.readouterr().err)
    assert (folders / "hyp.eval" / "summary.json").read_bytes() == before
    # Both together, or a folder by name, are fine.
    assert main([*call, "mel_l1,mcd_mel"]) == 0
    assert main([*call, "mcd_mel", "--out", str(folders / "hyp.eval")]) == 0


def test_words_close_the_vocabulary_of_wer(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = folders / "texts.jsonl"
    texts.write_text("".join(f'{{"id": "speaker/{n}", "text": "one"}}\n' for n in range(3)))
    options = ["--texts", str(texts), "--words", "one,two", "--metrics", "wer", "--json"]
    main(["codec", str(folders / "ref"), str(folders / "hyp"), *options])
    (metric_id,) = json.loads(capsys.readouterr().out)["metrics"]
    assert metric_id.startswith("wer.pocketsphinx51-closed-")


def test_report_is_written_again(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["codec", str(folders / "ref"), str(folders / "hyp"), "--metrics", "mel_l1"])
    capsys.readouterr()
    page = folders / "hyp.eval" / "report.html"
    page.unlink()
    assert main(["report", str(folders / "hyp.eval"), "--title", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(page)}
    assert "<h1>mine</h1>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (["codec", "ref", "none"], "expected a folder with audio files"),
        (["codec", "ref", "hyp", "--metrics", "utmos"], "expected metrics of"),
        (["codec", "ref", "hyp", "--texts", "none.jsonl"], "expected a JSON-lines file"),
        (["report", "ref"], "summary.json"),
    ],
)
def test_a_wrong_call_says_what_was_expected(
    folders: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: list[str],
    match: str,
) -> None:
    monkeypatch.chdir(folders)
    assert main(change) == 2
    assert match in capsys.readouterr().err


def test_doctor_lists_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert set(metrics) >= set(METRICS)
    assert {metrics[n]["status"] for n in (*RECONSTRUCTION, *INTELLIGIBILITY)} == {"ready"}
    for row in metrics.values():
        assert row["status"] in ("ready", "package missing", "weight missing")
        assert (row["status"] == "ready") == (row["obstacles"] == [])
    assert main(["doctor"]) == 0
    assert "pitch.swift03" in capsys.readouterr().out


def test_a_metric_is_dropped_and_the_record_says_what_was_left_out(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but drops begins with the default set; a weight that is not there stops the run."""
    call = ["codec", str(folders / "ref"), str(folders / "hyp"), "--json"]
    assert main([*call, "--metrics", "-pitch,-speaker_sim,-estoi,-mcd_mel"]) == 0
    assert set(json.loads(capsys.readouterr().out)["metrics"]) == {"stoi.pystoi04", "mel_l1.v1"}
    out = folders / "hyp.eval"
    (out / "summary.json").unlink()
    assert main([*call, "--metrics", "mel_l1,utmos22"]) == 2
    assert "utmos22_strong" in capsys.readouterr().err
    assert not (out / "summary.json").exists()
    assert main([*call, "--metrics", "mel_l1,utmos22", "--skip-unavailable"]) == 0
    capsys.readouterr()
    record = json.loads((out / "run.json").read_text())
    assert set(record["settings"]["skipped_metrics"]) == {"utmos22"}
    assert record["packages"]["numpy"]


def test_bench_measures_each_metric_and_the_set(capsys: pytest.CaptureFixture[str]) -> None:
    call = ["bench", "--metrics", "mel_l1,mcd_mel", "--seconds", "10", "--workers", "0", "--json"]
    assert main(call) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in printed["metrics"]] == ["mel_l1.v1", "mcd_mel.v1"]
    assert printed["together"]["audio_seconds"] == 10
    assert main([*call, "--require", "1e9"]) == 1
    assert main(["bench", "somewhere"]) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["codec", "--help"], ["report", "--help"]])
def test_help_shows_examples(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 0
    assert "hh-eval report scores/mini" in capsys.readouterr().out


def test_the_package_runs_as_a_module() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "eval", "doctor", "--json"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) == {"metrics"}


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__.split(".")[-1])
def test_every_choice_of_metrics_in_the_examples_is_understood(module: Any) -> None:
    """An example once dropped a metric that was not in the set."""
    defaults = {"codec": RECONSTRUCTION, "bench": RECONSTRUCTION}
    default = defaults.get(module.__name__.split(".")[-1], ("delivery",))
    shown = Path(module.__file__).read_text().split("\ndef run")[0]
    for text in re.findall(r"hh-eval [^\n]*--metrics[= ]([^\s\"]+)", shown):
        select_metrics(text, default, where_ready=WHERE_READY, skip_unavailable=True)


def test_the_commands_are_named_in_the_examples() -> None:
    """Each is shown by the help of the whole, reports and comparisons included."""
    for name in ("doctor", "codec", "tts", "slm", "compare", "adapt", "report"):
        assert f"hh-eval {name} " in EXAMPLES or f"hh-eval {name}\n" in EXAMPLES


def test_a_weight_that_no_metric_has_is_refused(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["codec", str(folders / "ref"), str(folders / "hyp"), "--metrics", "mel_l1"]
    wrong = ["--weight", f"utmos={folders}"]
    assert main([*call, *wrong]) == 2
    assert "utmos22_strong, wavlm_sv, whisper, got utmos" in capsys.readouterr().err
    assert main(["doctor", *wrong]) == 2
    twice = ["--weight", f"whisper={folders}", "--weight", f"whisper={ROOT}"]
    assert main([*call, *twice]) == 2
    assert "expected the weight 'whisper' once" in capsys.readouterr().err
    assert not (folders / "hyp.eval").exists()


def test_a_model_that_is_named_and_cannot_be_used_is_told(
    folders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HH_WEIGHT_WHISPER", str(folders / "gone"))
    (folders / "texts.jsonl").write_text('{"id": "speaker/0", "text": "one two"}\n')
    call = ["codec", str(folders / "ref"), str(folders / "hyp")]
    options = ["--metrics", "default,-stoi,-estoi,-mcd_mel,-pitch,-wer,-wer_original"]
    assert main([*call, *options, "--texts", str(folders / "texts.jsonl")]) == 0
    errors = capsys.readouterr().err
    assert "left out wer_whisper: weight folder 'whisper'" in errors
    assert str(folders / "gone") in errors


def test_what_limits_words_needs_a_recogniser_that_can_be_limited(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["codec", str(folders / "ref"), str(folders / "hyp"), "--metrics"]
    assert main([*call, "mel_l1", "--words", "digits"]) == 2
    assert "among the metrics for --words, got mel_l1" in capsys.readouterr().err
    for nothing in ("", " , "):
        assert main([*call, nothing]) == 2
        assert "expected names of metrics" in capsys.readouterr().err


@pytest.mark.parametrize(("inside", "named"), [("hyp", "."), ("hyp/speaker", "..")])
def test_results_of_a_folder_without_a_name_lie_beside_it(
    folders: Path, inside: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders / inside)
    assert main(["codec", str(folders / "ref"), named, "--metrics", "mel_l1"]) == 0
    assert (folders / "hyp.eval" / "summary.json").is_file()


def test_a_speed_is_not_reached_by_clips_that_fail(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["bench", str(folders / "ref"), str(folders / "hyp"), "--metrics", "mel_l1"]
    call += ["--workers", "0"]
    assert main([*call, "--require", "0.01"]) == 0
    for path in (folders / "hyp" / "speaker").iterdir():
        soundfile.write(path, np.zeros(100), 24000)
    assert main([*call, "--require", "0.01"]) == 1
    assert main(call) == 0
    capsys.readouterr()
