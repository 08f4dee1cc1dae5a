"""Speech from the command line: one text, streams, long texts, candidates, and what is refused."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from codec import HHCodec
from slm.cli.main import main
from slm.synthesis.synthesizer import Synthesizer
from slm.synthesis.voices import save_voices

Waveforms = Callable[..., np.ndarray]


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


def test_a_single_text_is_spoken_again_where_it_has_changed(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for text in ("a dog", "a dog", "green hills"):
        out = str(tmp_path / "a.wav")
        assert main(["tts", text, *models, "-o", out, "--resume", "--json"]) == 0
        found.append("already_there" in json.loads(capsys.readouterr().out))
    assert found == [False, True, False]


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
    for source, name in zip(model_folders, ("hh-mini-24k-v2", "hh-mini-slm-v2"), strict=True):
        shutil.copytree(source, bundled / name)
    codec = HHCodec.from_pretrained(model_folders[0])
    save_voices(bundled / "hh-mini-slm-v2", voices, codec.fingerprint, "ann")
    monkeypatch.setattr("codec.model.pretrained.BUNDLED", bundled)
    monkeypatch.setattr("slm.model.model_folder.BUNDLED", bundled)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    written = []
    models = ["--codec", str(model_folders[0]), "--lm", str(model_folders[1])]
    for options in ([], [*models, "--voice", "ann"], models):
        out = tmp_path / "out.wav"
        assert main(["tts", "green hills", *options, "-o", str(out)]) == 0
        written.append(out.read_bytes())
    assert written[0] == written[1] != written[2]


def test_a_language_model_of_unknown_codes_wants_its_codec_named(
    model_folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    assert main(["tts", "green hills", "--lm", str(model_folders[1]), "-o", str(out)]) == 2
    assert "hh-mini-24k-v2 and hh-mini-24k have others" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_is_there_is_left_alone_on_request(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "there.wav"
    out.write_bytes(b"mine")
    assert main(["tts", "a dog", *models, "-o", str(out), "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "already_there": 1}
    assert out.read_bytes() == b"mine"


def test_a_long_text_is_reported_with_the_seed_that_was_asked_for(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "long.wav")
    text = "A lazy dog. ... Seven green hills."
    assert main(["tts", text, *models, "--long", "--seed", "7", "-o", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 7


def test_a_stream_to_stdout_is_the_speech_and_nothing_else(
    models: list[str], model_folders: tuple[Path, Path], capfdbinary: Any
) -> None:
    command = ["tts", "green hills", *models, "--stream", "-o", "-", "--seed", "3", "--json"]
    assert main(command) == 0
    out, err = capfdbinary.readouterr()
    chunks = Synthesizer.from_pretrained(*model_folders).stream("green hills", seed=3)
    waveform = np.concatenate(list(chunks))
    np.testing.assert_allclose(np.frombuffer(out, "<i2") / 32767, waveform.clip(-1, 1), atol=1e-3)
    report = json.loads(err.splitlines()[-1])
    assert report["duration"] == pytest.approx(len(waveform) / report["sample_rate"])
    assert 0 < report["first_sound_after"] <= report["spoken_in"]


def test_a_text_without_words_is_refused_before_a_model_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("?!\n...\n")
    models = ["--lm", str(tmp_path / "gone"), "--codec", str(tmp_path / "gone")]
    for given in (["\u2026 ?!"], ["\U0001f600"], ["--file", str(texts)]):
        out = str(tmp_path / ("out" if "--file" in given else "a.wav"))
        assert main(["tts", *given, *models, "-o", out]) == 2
        assert "expected text with at least one word" in capsys.readouterr().err


def test_a_language_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["-o", str(tmp_path / "a.wav")]
    assert main(["tts", "5 dogs", "--language", "Deutsch", *out]) == 2
    assert "expected the code of a language" in capsys.readouterr().err
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "5 dogs", "language": "xx"}\n')
    assert main(["tts", "--file", str(texts), "-o", str(tmp_path / "out")]) == 2
    assert "texts.jsonl:1: expected the code of a language" in capsys.readouterr().err
    assert main(["normalize", "5 dogs", "--language", "xx"]) == 2


def test_a_closed_output_is_told_before_a_model_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    models = ["--lm", str(tmp_path / "gone"), "--codec", str(tmp_path / "gone")]
    assert main(["tts", "a dog", *models, "--stream", "-o", "-"]) == 1
    assert "expected an open standard output, got a closed one" in capfd.readouterr().err


def test_a_text_is_read_from_standard_input_where_it_is_asked_for(
    models: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def piped(text: bytes, out: str) -> int:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text), "ascii"))
        return main(["tts", "-", *models, "-o", str(tmp_path / out)])

    assert piped(b"\xef\xbb\xbfgreen hills\n", "piped.wav") == 0
    assert main(["tts", "green hills", *models, "-o", str(tmp_path / "named.wav")]) == 0
    assert (tmp_path / "piped.wav").read_bytes() == (tmp_path / "named.wav").read_bytes()
    capsys.readouterr()
    for text, said in ((b"\n", "at least one word"), (b"caf\xe9", "UTF-8 on standard input")):
        assert piped(text, "none.wav") == 2
        assert said in capsys.readouterr().err
    assert main(["tts", *models, "-o", str(tmp_path / "none.wav")]) == 2
    assert "- reads it from standard input" in capsys.readouterr().err


def test_a_format_that_is_not_that_of_the_name_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = ["--lm", str(tmp_path / "gone"), "--codec", str(tmp_path / "gone")]
    call = ["tts", "a fox", *gone, "--format", "flac"]
    assert main([*call, "-o", str(tmp_path / "a.wav")]) == 2
    assert "expected --out to end in .flac" in capsys.readouterr().err
    for more in (["--format", "wav"], ["--resume"]):
        assert main(["tts", "a fox", *gone, "--stream", "-o", "-", *more]) == 2
        assert "--stream without --format and --resume" in capsys.readouterr().err


def test_a_file_on_the_way_to_the_output_is_told_before_a_model_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a fox\n")
    gone = ["--lm", str(tmp_path / "gone"), "--codec", str(tmp_path / "gone")]
    texts, out = ["--file", str(tmp_path / "file")], str(tmp_path / "file" / "a.wav")
    for call in (
        ["tts", "a fox", "-o", out],
        ["tts", *texts, "-o", out],
        ["continue", "in.wav", "-o", out],
        ["transcribe", str(tmp_path / "file"), "-o", f"{out}.txt"],
    ):
        assert main([*call, *gone]) == 2
        assert f"got the file {tmp_path / 'file'}" in capsys.readouterr().err
