import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from slm.cli.main import main
from slm.synthesis.requests import SpeechRequest

Waveforms = Callable[..., np.ndarray]
Requests = Sequence[SpeechRequest]


def test_continue_writes_the_recording_and_what_follows(
    models: list[str], recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "longer.wav")
    assert main(["continue", recording, "--seconds", "1", *models, "--out", out, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_given_codes"] == 11
    assert 11 < report["num_codes"] <= 11 + 23


def test_score_reports_every_recording(
    models: list[str], recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", recording, *models, "--text", "a lazy dog", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)[recording]
    assert score["num_codes"] == 12
    assert score["log_likelihood_per_code"] == pytest.approx(score["log_likelihood"] / 12)


def test_a_mistake_is_one_line_on_stderr_and_writes_nothing(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    for command, message in (
        (["tts", "漢字", *models, "--out", str(out)], "at least one piece"),
        (["tts", "a fox", *models, "--top-p", "7", "--out", str(out)], "top_p"),
        (["continue", "missing.wav", *models, "--out", str(out)], "missing.wav"),
        (["tts", "a", "--codec", "x", "--lm", str(tmp_path), "--out", str(out)], "config.yaml"),
    ):
        assert main(command) == 2, command
        captured = capsys.readouterr()
        assert message in captured.err.splitlines()[-1]
        assert captured.out == ""
        assert not out.exists()


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert 'hh-slm tts "Good morning."' in capsys.readouterr().out


def test_help_of_every_command_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = re.search(r"COMMAND\n(.*?)\n\n", capsys.readouterr().out, re.S)
    assert listed is not None
    names = re.findall(r"^    (\S+)", listed[1], re.M)
    assert {"tts", "continue", "score", "bench", "serve"} <= set(names)
    for name in names:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert f"  hh-slm {name} " in capsys.readouterr().out


def test_what_cannot_be_is_said_before_anything_is_loaded(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["--codec", str(tmp_path / "none"), "--lm", str(tmp_path / "none")]
    out = ["-o", str(tmp_path / "out.wav")]
    texts = tmp_path / "texts.txt"
    texts.write_text("a dog")
    for command, message in (
        (["tts", "a fox", "-o", "out.mp3"], "end in .wav or .flac"),
        (["tts", "a fox", "-o", str(tmp_path / "a.wav" / "..")], "end in .wav or .flac"),
        (["tts", "--file", str(texts), "-o", str(texts)], "name a folder"),
        (["continue", recording, "-o", "out"], "end in .wav or .flac"),
        (["tts", "a fox", "-o", "-"], "hh-slm tts --stream writes to stdout"),
        (["tts", "a fox", *out, "--stream"], "--stream with -o -"),
        (["tts", "a fox", *out, "--guidance", "inf"], "guidance: expected a finite number"),
        (["tts", "a fox", *out, "--temperature", "1e-40"], "temperature: expected 0 or"),
        (["tts", "a fox", *out, "--temperature", "nan"], "temperature: expected a finite"),
        (["tts", "a fox", *out, "--prompt-text", "words"], "expected a prompt with its transcript"),
        (["tts", "a fox", *out, "--prompt", "p.wav", "--voice", "ann"], "got both"),
        (
            ["tts", "a fox", *out, "--long", "--prompt", recording, "--prompt-text", "words"],
            "--long without a transcript",
        ),
    ):
        assert main([*command, *nowhere]) == 2, command
        assert message in capsys.readouterr().err


def test_a_recording_that_is_read_is_never_written_over(
    recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = ["--codec", str(tmp_path / "none"), "--lm", str(tmp_path / "none")]
    (tmp_path / "link.wav").symlink_to(recording)
    rows = tmp_path / "rows.jsonl"
    name = Path(recording).stem
    rows.write_text(json.dumps({"id": name, "text": "a fox", "prompt": recording}))
    before = Path(recording).read_bytes()
    for command in (
        ["tts", "a fox", "--prompt", recording, "-o", recording],
        ["tts", "a fox", "--prompt", recording, "-o", str(tmp_path / "link.wav")],
        ["continue", recording, "-o", recording],
        ["tts", "--file", str(rows), "-o", str(Path(recording).parent)],
    ):
        assert main([*command, *nowhere]) == 2, command
        assert "to name another file than" in capsys.readouterr().err
    assert Path(recording).read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        ["continue", "a.wav", "-o", "b.wav", "--seconds", "inf"],
        ["continue", "a.wav", "-o", "b.wav", "--seconds", "-3"],
        ["continue", "a.wav", "-o", "b.wav", "--seconds", "0"],
        ["continue", "a.wav", "-o", "b.wav", "--seconds", "nan"],
        ["continue", "a.wav", "-o", "b.wav", "--seconds", "x"],
        ["continue", "a.wav", "-o", "b.wav", "--attempts", "0"],
        ["tts", "a fox", "-o", "b.wav", "--attempts", "0"],
        ["tts", "a fox", "-o", "b.wav", "--best-of", "0"],
        ["tts", "a fox", "-o", "b.wav", "--rows", "0"],
        ["tts", "a fox", "-o", "b.wav", "--seed", "100000000000000000000"],
        ["tts", "a fox", "-o", "b.wav", "--seed", "-1"],
        ["tts", "a fox", "-o", "b.wav", "--seed", "x"],
        ["bench", "generate", "--rounds", "0"],
        ["bench", "generate", "--threads", "-1"],
        ["bench", "generate", "--new-tokens", "0"],
    ],
)
def test_numbers_out_of_range_are_refused(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command)
    assert stopped.value.code == 2
    assert f"got '{command[-1]}'" in capsys.readouterr().err.replace(
        f"got {command[-1]}", f"got '{command[-1]}'"
    )


def test_every_recording_is_scored_and_one_that_cannot_be_costs_no_other(
    models: list[str], recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", recording, recording, "missing.wav", *models, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert list(report) == [recording, f"{recording} (2)", "missing.wav"]
    assert report[recording]["num_codes"] == report[f"{recording} (2)"]["num_codes"] == 12
    assert "missing.wav" in report["missing.wav"]["error"]
