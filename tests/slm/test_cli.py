import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from codec import HHCodec
from codec.audio import write_audio
from slm.cli import main
from slm.voices import save_voices

Waveforms = Callable[..., np.ndarray]


@pytest.fixture
def models(model_folders: tuple[Path, Path]) -> list[str]:
    codec, lm = model_folders
    return ["--codec", str(codec), "--lm", str(lm)]


@pytest.fixture
def recording(make_waveform: Waveforms, tmp_path: Path) -> str:
    path = tmp_path / "recording.wav"
    write_audio(path, make_waveform(duration=0.5))
    return str(path)


def test_tts_writes_the_file_it_was_asked_for_and_says_so(
    models: list[str], recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, options in (
        ("plain.wav", []),
        ("voice.flac", ["--voice", "ann"]),
        ("prompt.wav", ["--prompt", recording, "--temperature", "0"]),
    ):
        out = str(tmp_path / name)
        assert main(["tts", "The quick fox", *models, *options, "--out", out, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["out"] == out
        assert soundfile.info(out).duration == pytest.approx(report["duration"], abs=1e-3)
    assert main(["tts", "The quick fox", *models, "--out", str(tmp_path / "b.wav")]) == 0
    assert "duration" in capsys.readouterr().out


def test_the_same_seed_writes_the_same_speech(models: list[str], tmp_path: Path) -> None:
    written = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        out = tmp_path / f"{name}.wav"
        main(["tts", "green hills", *models, "--seed", seed, "--out", str(out)])
        written.append(out.read_bytes())
    assert written[0] == written[1] != written[2]


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
        (["tts", "a fox", *models, "--top-p", "7", "--out", str(out)], "top_p in (0, 1]"),
        (["continue", "missing.wav", *models, "--out", str(out)], "missing.wav"),
        (["tts", "a fox", "--codec", "x", "--lm", str(tmp_path), "--out", str(out)], "config.yaml"),
    ):
        assert main(command) == 2
        captured = capsys.readouterr()
        assert message in captured.err.splitlines()[-1]
        assert captured.out == ""
        assert not out.exists()


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert 'hh-slm tts "Good morning."' in capsys.readouterr().out


def test_a_file_of_texts_is_spoken_to_a_folder_and_taken_up_again(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": "a", "text": "green hills", "seed": 5},
        {"id": "b", "text": "a dog", "voice": "ann"},
    ]
    texts, out = tmp_path / "texts.jsonl", tmp_path / "out"
    texts.write_text("\n".join(map(json.dumps, rows)))
    command = ["tts", "--file", str(texts), *models, "--out", str(out), "--json"]
    assert main(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["spoken"] == 2
    assert sorted(path.name for path in out.iterdir()) == ["a.wav", "b.wav"]
    first = (out / "a.wav").read_bytes()
    (out / "b.wav").unlink()
    assert main([*command, "--resume"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["spoken"], report["already_there"]) == (1, 1)
    assert (out / "a.wav").read_bytes() == first
    alone = tmp_path / "alone.wav"
    main(["tts", "green hills", *models, "--seed", "5", "--out", str(alone)])
    assert alone.read_bytes() == first


def test_the_best_of_several_is_written_with_its_scores(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "def longest(candidates, text, prompt):\n    return [len(c.codes) for c in candidates]\n"
    )
    out = str(tmp_path / "best.wav")
    command = ["tts", "green hills", *models, "--best-of", "4", "--out", out, "--json"]
    assert main([*command, "--verifier", f"{own}:longest", "--verifier", "likelihood"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_codes"] == report["scores"]["longest"][report["choice"]]
    assert len(report["scores"]["likelihood"]) == 4
    assert main([*command, "--verifier", f"{own}:nothing"]) == 2
    assert "expected a callable 'nothing'" in capsys.readouterr().err


def test_models_that_come_with_the_packages_speak_where_none_is_named(
    model_folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the default voice of the language model, which here is the only one it has."""
    bundled, voices = tmp_path / "bundled", {"ann": np.arange(10)}
    for source, name in zip(model_folders, ("hh-mini-24k", "hh-mini-slm"), strict=True):
        shutil.copytree(source, bundled / name)
    codec = HHCodec.from_pretrained(model_folders[0])
    save_voices(bundled / "hh-mini-slm", voices, codec.fingerprint, "ann")
    monkeypatch.setattr("codec.model.BUNDLED", bundled)
    monkeypatch.setattr("slm.model.BUNDLED", bundled)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    written = []
    models = ["--codec", str(model_folders[0]), "--lm", str(model_folders[1])]
    for options in ([], [*models, "--voice", "ann"], models):
        out = tmp_path / "out.wav"
        assert main(["tts", "green hills", *options, "-o", str(out)]) == 0
        written.append(out.read_bytes())
    assert written[0] == written[1] != written[2]
