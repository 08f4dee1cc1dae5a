"""Moonshine by ONNX Runtime, with the weights that a package carries."""

from __future__ import annotations

import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from codec.audio import read_audio
from eval.metrics.readiness import obstacles, status
from eval.metrics.registry import make_metrics
from eval.protocols import Item
from eval.recognition import moonshine
from eval.recognition.moonshine import DECODER, MOONSHINE, TOKENS, MoonshineRecognizer
from eval.recognition.windowed import DISTINCT
from eval.weights import find_weight

RATE = 16000
SPOKEN = "Ever tried, ever failed. No matter. Try again. Fail again. Fail better."


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the package carries."""
    monkeypatch.delenv(MOONSHINE.variable, raising=False)
    found = find_weight(MOONSHINE)
    if found is None or find_spec("onnxruntime") is None:
        pytest.skip("moonshine-voice 0.0.48 or onnxruntime is not installed")
    return found


@pytest.fixture
def speech(published: Path) -> np.ndarray:
    """A man's recording that lies in the same package, (T,) at 16 kHz."""
    return read_audio(published.parent / "beckett.wav", RATE)


def test_a_recording_becomes_its_words(speech: np.ndarray) -> None:
    (metric,) = make_metrics(["wer_moonshine"])
    assert status(metric) == "ready"
    score = metric.score(Item("a", None, speech, RATE, SPOKEN))
    assert score.values["wer"] == 0
    assert score.details["windows"] == "1"
    assert "possibly invented" not in score.details
    assert pickle.loads(pickle.dumps(metric)).recognizer._model is None


def test_a_long_recording_is_recognised_in_windows(speech: np.ndarray) -> None:
    pause = np.zeros(RATE, np.float32)
    long = np.concatenate([speech, pause] * 4)
    found = MoonshineRecognizer().transcribe_in_detail(long, RATE)
    assert int(found.details["windows"]) == -(-long.size // (30 * RATE))
    assert found.text.lower().count("no matter") == 4


@pytest.mark.parametrize("samples", [0, 1, 800, RATE])
def test_scraps_and_silence_have_a_transcript(published: Path, samples: int) -> None:
    words = MoonshineRecognizer().transcribe(np.zeros(samples), RATE)
    assert len(words.split()) <= 1


def test_the_second_search_says_no_run_of_tokens_twice(speech: np.ndarray) -> None:
    recognizer = MoonshineRecognizer()
    recognizer.prepare()
    doubled = np.concatenate([speech, speech])
    tokens = recognizer._search(doubled, DISTINCT)
    runs = [tuple(tokens[n : n + DISTINCT]) for n in range(len(tokens) - DISTINCT + 1)]
    assert len(set(runs)) == len(runs) > 0
    # Which this recording does where nothing forbids it.
    free = recognizer._search(doubled, 0)
    runs = [tuple(free[n : n + DISTINCT]) for n in range(len(free) - DISTINCT + 1)]
    assert len(set(runs)) < len(runs)


def test_a_run_is_told_by_the_tokens_before_its_end() -> None:
    assert moonshine._repeating([1, 5, 6, 7, 5, 6], 3) == [7]
    assert moonshine._repeating([1, 5, 5, 5], 3) == [5]
    assert moonshine._repeating([1], 3) == []
    assert moonshine._repeating([1, 5, 6, 7, 5, 6], 0) == []


def test_a_vocabulary_holds_tokens_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / TOKENS
    tokens = [b"", b"a", "\u2581the".encode(), b"x" * 127, b"y" * 128, b"z" * 300]
    counts = [[0], [1], [6], [127], [128, 1], [128 + 300 % 128, 300 // 128]]
    path.write_bytes(b"".join(bytes(c) + t for c, t in zip(counts, tokens, strict=True)))
    assert moonshine.read_vocabulary(path) == tokens
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="expected whole tokens"):
        moonshine.read_vocabulary(path)


def test_a_folder_without_its_parts_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MOONSHINE.variable, str(tmp_path))
    (tmp_path / TOKENS).write_bytes(b"\x01a")
    (metric,) = make_metrics(["wer_moonshine"])
    assert f"no such folder with encoder_model.ort, {DECODER}" in " ".join(obstacles(metric))


def test_files_of_no_model_are_refused(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(published, folder)
    (folder / DECODER).write_bytes(b"no model")
    monkeypatch.setenv(MOONSHINE.variable, str(folder))
    with pytest.raises(ValueError, match="expected a Moonshine model in"):
        MoonshineRecognizer().prepare()
