"""Speech of files of texts: rows, reports, taking up again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from codec.files.derived import LOG_NAME
from slm.cli.main import main
from slm.generation.retries import derived_seed
from slm.synthesis.requests import SpeechRequest
from slm.synthesis.result import Synthesis
from slm.synthesis.synthesizer import Synthesizer

Requests = Sequence[SpeechRequest]


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
    names = sorted(path.name for path in out.iterdir())
    assert names == [LOG_NAME, "a.wav", "b.wav", "report.jsonl"]
    first = (out / "a.wav").read_bytes()
    (out / "b.wav").unlink()
    assert main([*command, "--resume"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["spoken"], report["already_there"]) == (1, 1)
    assert (out / "a.wav").read_bytes() == first
    lines = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "b", "b"]
    assert lines[0]["seed"] == derived_seed(5, lines[0]["attempt"])
    alone = tmp_path / "alone.wav"
    main(["tts", "green hills", *models, "--seed", "5", "--out", str(alone)])
    assert alone.read_bytes() == first


def test_speech_of_another_text_voice_or_setting_is_made_again(
    models: list[str], recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out, voice = tmp_path / "texts.jsonl", tmp_path / "out", tmp_path / "voice.wav"
    shutil.copy(recording, voice)
    rows = [{"id": "a", "text": "green hills"}, {"id": "b", "text": "a dog", "prompt": str(voice)}]

    def spoken(*more: str) -> tuple[int, int]:
        texts.write_text("\n".join(map(json.dumps, rows)))
        command = ["tts", "--file", str(texts), *models, "--out", str(out), "--json", "--resume"]
        assert main([*command, *more]) == 0
        report = json.loads(capsys.readouterr().out)
        return report["spoken"], report["already_there"]

    assert spoken() == (2, 0)
    assert spoken() == (0, 2)
    rows[0]["text"] = "a dog"
    assert spoken() == (1, 1)
    os.utime(voice, (1e9, 1e9))
    assert spoken() == (1, 1)
    assert spoken("--temperature", "0.5") == (2, 0)


def test_a_row_that_cannot_be_spoken_spares_the_others_and_is_listed(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"id": "a", "text": "green hills"},
        {"id": "b", "text": "\u6f22\u5b57"},
        {"id": "c", "text": "a dog", "voice": "bob"},
        {"id": "d", "text": "a dog", "prompt": "missing.wav"},
        {"id": "e", "text": "a lazy dog"},
    ]
    texts, out = tmp_path / "texts.jsonl", tmp_path / "out"
    texts.write_text("\n".join(map(json.dumps, rows)))
    command = ["tts", "--file", str(texts), *models, "--out", str(out), "--json"]
    assert main([*command, "--rows", "3"]) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert sorted(report["items"]) == ["a", "e"]
    assert sorted(report["failed"]) == ["b", "c", "d"]
    assert "voice of ['ann'" in report["failed"]["c"]
    assert "failed: d: " in captured.err
    lines = [json.loads(line) for line in (out / "report.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "b", "c", "d", "e"]
    assert [line["id"] for line in lines if "error" in line] == ["b", "c", "d"]


def test_texts_of_a_file_are_spoken_a_few_at_a_time(
    models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    speak = Synthesizer.synthesize

    def spy(synthesizer: Synthesizer, requests: Requests, **options: Any) -> list[Synthesis]:
        sizes.append(len(requests))
        return speak(synthesizer, requests, **options)

    monkeypatch.setattr(Synthesizer, "synthesize", spy)
    texts = tmp_path / "texts.txt"
    texts.write_text("a dog\n" * 5)
    command = ["tts", "--file", str(texts), *models, "--out", str(tmp_path / "out")]
    assert main([*command, "--rows", "2"]) == 0
    assert sizes == [2, 2, 1]


def test_a_transcript_belongs_to_the_prompt_it_came_with(
    models: list[str], recording: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    speak = Synthesizer.synthesize

    def spy(synthesizer: Synthesizer, requests: Requests, **options: Any) -> list[Synthesis]:
        given.extend(request.prompt_text for request in requests)
        return speak(synthesizer, requests, **options)

    monkeypatch.setattr(Synthesizer, "synthesize", spy)
    rows = [
        {"text": "a dog"},
        {"text": "a dog", "prompt": recording},
        {"text": "a dog", "prompt": recording, "prompt_text": "green hills"},
        {"text": "a dog", "voice": "ann"},
    ]
    texts = tmp_path / "texts.jsonl"
    texts.write_text("\n".join(map(json.dumps, rows)))
    command = ["tts", "--file", str(texts), *models, "--out", str(tmp_path / "out")]
    assert main([*command, "--prompt", recording, "--prompt-text", "a lazy dog"]) == 0
    assert given == ["a lazy dog", None, "green hills", None]


def test_a_file_that_cannot_be_written_does_not_end_the_others(
    models: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, out = tmp_path / "texts.jsonl", tmp_path / "out"
    rows = [{"id": name, "text": "a dog"} for name in ("a", "b")]
    texts.write_text("\n".join(map(json.dumps, rows)))
    # A folder has the name of the first file.
    (out / "a.wav").mkdir(parents=True)
    assert main(["tts", "--file", str(texts), *models, "--out", str(out), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (list(report["failed"]), list(report["items"])) == (["a"], ["b"])
    assert report["failed"]["a"] == f"{out / 'a.wav'}: Is a directory"
