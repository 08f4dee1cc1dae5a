"""Word errors by Whisper of many clips: in batches they are what each clip gives alone."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from eval.metrics.wer import WerMetric
from eval.protocols import BatchMetric
from eval.recognition.pocketsphinx import PocketSphinxRecognizer
from eval.recognition.whisper import WHISPER, WhisperRecognizer
from eval.recognition.whisper_ctranslate2 import CTranslate2WhisperRecognizer
from eval.scoring.pair import Pair
from eval.scoring.score import score_pairs
from eval.scoring.summary import item_rows
from eval.sound import Sound
from eval.weights import DEVICE
from tests.support.builders import write_whisper

pytest.importorskip("transformers")
RATE = 16000


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whisper(tmp_path_factory.mktemp("whisper"))


def made(kind: str, published: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    """Name the folder of a kind's weights, and return its recogniser."""
    if kind == "transformers":
        monkeypatch.setenv(WHISPER.variable, str(published))
        return WhisperRecognizer
    if find_spec("ctranslate2") is None:
        pytest.skip("ctranslate2 is not installed")
    from ctranslate2 import converters

    converter = converters.TransformersConverter(str(published), copy_files=["tokenizer.json"])
    converter.convert(str(folder / "model"))
    monkeypatch.setenv(WHISPER.variable, str(folder / "model"))
    return CTranslate2WhisperRecognizer


@pytest.mark.parametrize("kind", ["transformers", "ctranslate2"])
def test_batches_hear_what_each_clip_alone_does(
    kind: str,
    published: Path,
    tmp_path: Path,
    make_speech: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recogniser = made(kind, published, tmp_path, monkeypatch)
    # Of several lengths and rates; one is silent, and one has no text.
    rates = (16000, 24000, 16000, 16000, 24000)
    sounds = [make_speech(0.5 + n / 2, seed=n, sample_rate=r) for n, r in enumerate(rates)]
    pairs = [
        Pair(f"c{n}", None, Sound(sound, rate), "one two three")
        for n, (sound, rate) in enumerate(zip(sounds, rates, strict=True))
    ]
    pairs.insert(1, Pair("silent", None, Sound(np.zeros(RATE), RATE), "one"))
    pairs.append(Pair("mute", None, Sound(sounds[0], RATE), ""))
    found = {}
    for size in (1, 4):
        metric = WerMetric(recogniser("", max_new_tokens=12, batch_size=size), family="wer_whisper")
        assert isinstance(metric, BatchMetric)
        assert metric.batch_size == size
        folder = tmp_path / f"batch{size}"
        score_pairs(pairs, [metric], folder, show_progress=False)
        rows = item_rows(folder, metric.info.id)
        found[size] = {
            name: {key: row[key] for key in ("status", "values", "reason", "details")}
            for name, row in rows.items()
        }
    # Guards are given to three digits, words exactly.
    assert found[4] == found[1]
    assert any(row["details"].get("heard") for row in found[4].values())
    assert "silent" in found[4]["silent"]["reason"]
    assert found[4]["mute"]["reason"] == "the item has no reference text"


def test_batches_are_taken_where_they_are_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one thread four clips at once took as long as one after the other, or longer."""
    assert WerMetric(WhisperRecognizer()).batch_size == 1
    assert WerMetric(WhisperRecognizer(batch_size=3)).batch_size == 3
    monkeypatch.setenv(DEVICE, "cuda")
    assert WerMetric(WhisperRecognizer()).batch_size == 8
    # It works on the CPU wherever the networks of other metrics do.
    assert WerMetric(CTranslate2WhisperRecognizer()).batch_size == 1
    assert WerMetric(PocketSphinxRecognizer()).batch_size == 1
