"""Whisper in CTranslate2's form, beside the same tiny model by transformers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from eval.metrics.readiness import obstacles, status
from eval.metrics.registry import make_metrics, with_whisper
from eval.protocols import Item
from eval.recognition.whisper import WHISPER, WhisperRecognizer
from eval.recognition.whisper_ctranslate2 import CTranslate2WhisperRecognizer, whisper_recognizer
from eval.recognition.windowed import DISTINCT
from tests.support.builders import write_whisper

# Loading it takes two seconds and 150 MB, which only the process that runs these tests needs.
pytestmark = pytest.mark.skipif(
    find_spec("ctranslate2") is None or find_spec("transformers") is None,
    reason="ctranslate2 or transformers is not installed",
)
RATE = 16000


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def converted(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as faster-whisper keeps it."""
    from ctranslate2 import converters

    folder = tmp_path_factory.mktemp("converted") / "model"
    converter = converters.TransformersConverter(str(published), copy_files=["tokenizer.json"])
    converter.convert(str(folder))
    return folder


def test_both_forms_of_a_model_recognise_the_same(
    published: Path,
    converted: Path,
    make_speech: Callable[..., np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speech = [make_speech(s, seed=n, sample_rate=RATE) for n, s in enumerate((0.5, 1.0, 2.0))]
    monkeypatch.setenv(WHISPER.variable, str(published))
    expected = WhisperRecognizer("", max_new_tokens=12).transcribe_many(speech, RATE)
    monkeypatch.setenv(WHISPER.variable, str(converted))
    exact = CTranslate2WhisperRecognizer("", max_new_tokens=12, compute_type="float32")
    found = exact.transcribe_many(speech, RATE)
    assert [each.text for each in found] == [each.text for each in expected]
    assert any(each.text for each in found)
    extractor = exact._model[1][0]
    features = extractor(speech[1], sampling_rate=RATE, return_tensors="np").input_features[0]
    assert exact.transcribe_features(features).text == found[1].text
    for distinct in (0, DISTINCT):
        long = exact._recognize(speech, distinct)
        monkeypatch.setenv(WHISPER.variable, str(published))
        other = WhisperRecognizer("", max_new_tokens=12)
        other.prepare()
        assert [row.words for row in long] == [
            row.words for row in other._recognize(speech, distinct)
        ]


def test_the_folder_chooses_the_back_end_and_the_id_names_it(
    published: Path, converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WHISPER.variable, str(published))
    assert whisper_recognizer().id == "whisper_hf5-beam5-v2-english"
    monkeypatch.setenv(WHISPER.variable, str(converted))
    assert whisper_recognizer().id == "whisper_ct2_4-int8-beam5-v2-english"
    (metric,) = make_metrics(["wer_whisper"])
    assert status(metric) == "ready"
    # By its full id the other back end is asked for, whatever the folder holds.
    (other,) = make_metrics(["wer_whisper.whisper_hf5-beam5-v1-english.basic"])
    assert other.info.id != metric.info.id


def test_a_score_holds_the_words_and_the_guards(
    converted: Path, make_speech: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WHISPER.variable, str(converted))
    (metric,) = make_metrics(["wer_whisper"])
    score = metric.score(Item("a", None, make_speech(1.0, sample_rate=RATE), RATE, "one two"))
    assert score.values["reference_words"] == 2
    assert score.details["windows"] == "1"
    assert pickle.loads(pickle.dumps(metric)).recognizer._model is None


def test_a_folder_without_its_parts_is_named(
    converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.bin").write_bytes(b"no model")
    monkeypatch.setenv(WHISPER.variable, str(tmp_path))
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        whisper_recognizer().prepare()
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="CTranslate2 Whisper model in"):
        whisper_recognizer().prepare()
    with pytest.raises(ValueError, match="compute_type"):
        CTranslate2WhisperRecognizer(compute_type="int4")


def test_other_languages_are_refused_by_a_model_of_english_alone(
    converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WHISPER.variable, str(converted))
    with pytest.raises(ValueError, match="multilingual Whisper model for 'german'"):
        CTranslate2WhisperRecognizer("german").transcribe(np.zeros(RATE), RATE)


def test_whisper_stands_beside_the_offline_recogniser_where_it_is_ready(
    converted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WHISPER.variable, "")
    assert with_whisper(["wer_original", "wer"]) == ["wer_original", "wer"]
    assert "faster-whisper" in " ".join(obstacles(make_metrics(["wer_whisper"])[0]))
    monkeypatch.setenv(WHISPER.variable, str(converted))
    assert with_whisper(["stoi", "wer"]) == ["stoi", "wer", "wer_whisper"]
    assert with_whisper(["wer_original"]) == ["wer_original", "wer_whisper_original"]
    assert with_whisper(["wer", "wer_whisper"]) == ["wer", "wer_whisper"]
