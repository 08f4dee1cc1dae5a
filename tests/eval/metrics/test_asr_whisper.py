"""Whisper by path, its input and output with a tiny model of random weights."""

import json
import pickle

import pytest

from eval.metrics.asr_whisper import WHISPER, WhisperRecognizer
from eval.metrics.registry import status
from eval.metrics.wer import WerMetric
from eval.protocols import Item

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Whisper model of 16 channels, its words the letters of the alphabet."""
    path = tmp_path_factory.mktemp("whisper")
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"]
    vocabulary = {chr(97 + n): n for n in range(26)} | {s: 26 + n for n, s in enumerate(special)}
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    (path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.WhisperTokenizer(
        str(path / "vocab.json"), str(path / "merges.txt"), additional_special_tokens=special
    )
    features = transformers.WhisperFeatureExtractor(feature_size=8)
    transformers.WhisperProcessor(features, tokenizer).save_pretrained(path)
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        d_model=16,
        max_target_positions=20,
        bos_token_id=26,
        eos_token_id=26,
        pad_token_id=26,
        decoder_start_token_id=27,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    transformers.WhisperForConditionalGeneration(config).save_pretrained(path)
    return path


def test_a_model_is_loaded_from_its_folder_and_nothing_is_downloaded(
    folder, monkeypatch, make_speech
):
    monkeypatch.setenv(WHISPER.variable, str(folder))
    recognizer = WhisperRecognizer("", max_new_tokens=5)
    metric = WerMetric(recognizer, family="wer_whisper")
    assert status(metric) == "ready"
    metric.prepare()
    speech = make_speech(1.0, sample_rate=16000)
    words = recognizer.transcribe(speech, 16000)
    assert isinstance(words, str)
    assert recognizer.transcribe(speech, 16000) == words
    score = metric.score(Item("a", None, speech, 16000, "one two"))
    assert score.details == {"heard": words}
    assert score.values["reference_words"] == 2
    assert pickle.loads(pickle.dumps(recognizer))._model is None


def test_a_missing_or_wrong_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv(WHISPER.variable, "")
    with pytest.raises(ValueError, match="'whisper'"):
        WhisperRecognizer().prepare()
    monkeypatch.setenv(WHISPER.variable, str(tmp_path))
    with pytest.raises(ValueError, match="expected a WhisperForConditionalGeneration in"):
        WhisperRecognizer().prepare()
    with pytest.raises(ValueError, match="max_new_tokens"):
        WhisperRecognizer(max_new_tokens=0)
