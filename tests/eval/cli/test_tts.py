"""`hh-eval tts`, `hh-eval slm` and the charts of `hh-eval report`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eval.cli.main import main
from eval.cli.tts import _transcribing_metric
from eval.likelihood_tests.pairs import LikelihoodPair, write_pairs
from eval.metrics.wer import WerMetric
from eval.recognition.pocketsphinx import PocketSphinxRecognizer
from eval.recognition.whisper import WhisperRecognizer

RATE = 16000


@pytest.fixture
def spoken(make_speech: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    lines = []
    for name in ("prompts", "true", "spoken"):
        (tmp_path / name).mkdir()
    for n in range(2):
        for folder, seed in (("prompts", 10 + n), ("true", n), ("spoken", n)):
            clip = make_speech(0.6, seed=seed, sample_rate=RATE)
            soundfile.write(tmp_path / folder / f"{n}.wav", clip, RATE)
        lines.append(f"{n}|what|prompts/{n}.wav|some words here|true/{n}.wav\n")
    (tmp_path / "meta.lst").write_text("".join(lines))
    return tmp_path


def call(folder: Path, *options: str) -> int:
    names = [str(folder / "meta.lst"), str(folder / "spoken"), "--out", str(folder / "out")]
    return main(["tts", *names, "--metrics", "delivery,duration,prosody", *options])


def test_generated_speech_is_scored_beside_the_recordings(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(spoken, "--recordings", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    figures = printed["metrics"]["duration.v1"]["figures"]
    assert figures["total_ratio"]["value"] == pytest.approx(1.0)
    page = (spoken / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<audio") == 6
    assert ">recording</th>" in page
    assert (spoken / "out" / "recording" / "summary.json").is_file()


def test_a_perplexity_brings_that_of_the_recordings_with_it(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spoken / "corpus.txt").write_text("some words here\n")
    options = ["--metrics", "wer", "--text-model", str(spoken / "corpus.txt")]
    assert call(spoken, *options) == 0
    assert (spoken / "out" / "recording" / "summary.json").is_file()
    capsys.readouterr()


def test_a_missing_wav_is_a_failure_and_comes_first(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spoken / "spoken" / "1.wav").unlink()
    assert call(spoken) == 1
    assert "1/2" in capsys.readouterr().out
    page = (spoken / "out" / "report.html").read_text(encoding="utf-8")
    assert page.index("no such audio file") < page.index("<table")


def test_the_record_decides_what_ran_away(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "0", "truncated": True}, {"id": "1", "truncated": False}]
    record = spoken / "spoken" / "generation.jsonl"
    record.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert call(spoken, "--json") == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["delivery.record1"]["figures"]["runaway"]["value"] == 0.5


def test_the_report_of_hh_slm_is_a_record_and_both_aggregates_are_shown(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": "0", "truncated": True}, {"id": "1", "error": "no text"}]
    report = spoken / "spoken" / "report.jsonl"
    report.write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = [str(spoken / "meta.lst"), str(spoken / "spoken"), "--out", str(spoken / "out")]
    assert main(["tts", *names, "--metrics", "delivery,wer"]) == 0
    printed = capsys.readouterr().out
    assert "delivery.record1" in printed
    assert "wer, mean" in printed


def test_a_wrong_list_is_the_callers_mistake(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spoken / "meta.lst").write_text("one|two\n")
    assert call(spoken) == 2
    assert "meta.lst:1" in capsys.readouterr().err


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    pairs = [
        LikelihoodPair(str(n), "toy", "", tmp_path / f"{n}p.wav", tmp_path / f"{n}n.wav", 0.5, 0.5)
        for n in range(4)
    ]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    rows = [
        {"path": str(path), "log_likelihoods": [-1.0, value], "seconds": 1.0}
        for pair in pairs
        for path, value in ((pair.pos, -1.0), (pair.neg, -2.0 if pair.id != "0" else -0.5))
    ]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path


def test_pairs_are_judged_from_a_score_file(
    judged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(judged / "pairs.jsonl"), "--scores", str(judged / "scores.jsonl")]
    assert main(["slm", *names, "--out", str(judged / "out"), "--json"]) == 0
    rules = json.loads(capsys.readouterr().out)["suites"]["toy"]["all"]
    assert rules["mean"]["share"] == rules["local"]["share"] == 0.75
    assert rules["length"] == {**rules["length"], "share": 0.5, "ties": 4}
    assert "75.0 %" in (judged / "out" / "report.html").read_text(encoding="utf-8")
    (judged / "scores.jsonl").write_text("")
    assert main(["slm", *names]) == 1
    assert "4 of 4 pairs failed" in capsys.readouterr().out


def test_a_published_folder_becomes_a_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s").mkdir()
    for name in ("1_correct.wav", "1_incorrect.wav"):
        (tmp_path / "s" / name).write_bytes(b"")
    out = tmp_path / "pairs.jsonl"
    options = ["--suite", "spoken_storycloze", "--write-pairs", str(out), "--json"]
    assert main(["slm", str(tmp_path / "s"), *options]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 1
    assert json.loads(out.read_text())["pos"] == "s/1_correct.wav"
    assert main(["slm", str(out)]) == 2
    assert "--scores" in capsys.readouterr().err


def test_a_page_shows_ladder_baseline_and_worst_clips(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [str(spoken / "true"), str(spoken / "spoken"), "--metrics", "mel_l1"]
    for name in ("a", "b"):
        assert main(["codec", *pairs, "--out", str(spoken / name)]) == 0
    ladder = [{"name": "opus_6", "bitrate": 6000, "values": {"mel_l1": [0.9, 0.8, 1.0]}}]
    (spoken / "ladder.json").write_text(json.dumps(ladder))
    options = ["--ladder", str(spoken / "ladder.json"), "--bitrate", "300"]
    (spoken / "codes.jsonl").write_text('{"codes": [1, 1, 2]}\n')
    options += ["--codes", str(spoken / "codes.jsonl"), "--codebook-size", "4"]
    options += ["--baseline", str(spoken / "b"), "--audio", *pairs[:2]]
    assert main(["report", str(spoken / "a"), *options]) == 0
    page = (spoken / "a" / "report.html").read_text(encoding="utf-8")
    assert "mel_l1 by bit rate" in page
    assert "mel_l1, clip by clip" in page
    assert "2 of 4 used in 3 codes" in page
    assert page.count("<audio") == 4
    # Sounds of another model of the same names are not shown beside these scores.
    soundfile.write(spoken / "spoken" / "0.wav", np.full(RATE, 0.1), RATE)
    assert main(["report", str(spoken / "a"), "--audio", *pairs[:2]]) == 2
    assert "got others for 0; score them again" in capsys.readouterr().err


def test_a_text_model_needs_words_and_is_read_before_any_audio(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (spoken / "corpus.txt").write_text("some words here\n")
    assert call(spoken, "--text-model", str(spoken / "corpus.txt")) == 2
    assert "expected wer among the metrics for --text-model" in capsys.readouterr().err
    names = [str(spoken / "meta.lst"), str(spoken / "spoken"), "--metrics", "wer"]
    assert main(["tts", *names, "--text-model", str(spoken / "none.txt")]) == 2
    assert "expected a file of text" in capsys.readouterr().err
    assert not (spoken / "spoken.eval").exists()


def test_transcripts_are_those_of_the_speech_by_the_best_recogniser(
    spoken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of --metrics counted: words of recordings stood for those of the speech."""
    assert call(spoken, "--metrics", "wer_original,wer") == 0
    texts = json.loads((spoken / "out" / "text.json").read_text())
    assert texts["generated"]["recognizer"] == "wer.pocketsphinx51.seedtts2"
    page = (spoken / "out" / "report.html").read_text(encoding="utf-8")
    assert "Words of wer.pocketsphinx51.seedtts2." in page
    capsys.readouterr()
    assert call(spoken, "--metrics", "wer_original") == 0
    assert json.loads((spoken / "out" / "text.json").read_text()) == {}
    whisper = WerMetric(WhisperRecognizer(), family="wer_whisper")
    plain = WerMetric(PocketSphinxRecognizer())
    original = WerMetric(PocketSphinxRecognizer(), part="reference")
    assert _transcribing_metric([original, plain, whisper]) == whisper.info.id
