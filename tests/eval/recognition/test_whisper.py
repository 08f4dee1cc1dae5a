"""Whisper by path, its input and output with a tiny model of random weights."""

import pickle

import numpy as np
import pytest

from eval.metrics.readiness import obstacles, status
from eval.metrics.registry import make_metrics
from eval.metrics.wer import WerMetric
from eval.protocols import Item
from eval.recognition.guards import RecognizedWindow, compression_ratio, is_loop
from eval.recognition.whisper import WHISPER, GreedyWhisperRecognizer, WhisperRecognizer
from eval.recognition.windowed import DISTINCT
from eval.recognition.windows import cut_windows
from tests.support.builders import write_whisper

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_whisper(tmp_path_factory.mktemp("whisper"))


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
    assert score.details["heard"] == words
    assert score.details["windows"] == "1"
    assert float(score.details["no-speech probability"]) < 1
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


@pytest.fixture
def recognizer(folder, monkeypatch):
    """A maker of recognisers of at most 12 tokens."""
    monkeypatch.setenv(WHISPER.variable, str(folder))
    return lambda **settings: WhisperRecognizer("", max_new_tokens=12, **settings)


def generated(folder, waveforms, beams):
    """Transcripts by transformers alone, each waveform by itself."""
    processor = transformers.WhisperProcessor.from_pretrained(folder)
    model = transformers.WhisperForConditionalGeneration.from_pretrained(folder).eval()
    texts = []
    for waveform in waveforms:
        features = processor(
            waveform, sampling_rate=16000, return_tensors="pt", return_attention_mask=True
        )
        tokens = model.generate(
            features.input_features,
            attention_mask=features.attention_mask,
            max_new_tokens=12,
            num_beams=beams,
            do_sample=False,
        )
        texts += processor.batch_decode(tokens, skip_special_tokens=True)
    return [text.strip() for text in texts]


@pytest.mark.parametrize("beams", [1, 5])
def test_batches_give_what_the_model_itself_generates(folder, recognizer, make_speech, beams):
    speech = [make_speech(s, seed=n, sample_rate=16000) for n, s in enumerate((0.5, 1.0, 2.0))]
    found = recognizer(beams=beams, batch_size=2).transcribe_many(speech, 16000)
    texts = [each.text for each in found]
    assert texts == generated(folder, speech, beams)
    assert any(texts)


def test_long_recordings_are_recognised_window_by_window(folder, recognizer, make_speech):
    part = make_speech(2.0, sample_rate=16000)
    silence = np.zeros(16000 * 20, np.float32)
    whole = np.concatenate([part, silence, part, silence])
    found = recognizer().transcribe_in_detail(whole, 16000)
    assert found.details["windows"] == "2"
    windows = cut_windows(whole, 16000)
    texts = generated(folder, [whole[w.start : w.end] for w in windows], 5)
    assert found.text == " ".join(text for text in texts if text)


def test_the_id_names_beam_and_version_and_the_earlier_one_stays():
    assert WhisperRecognizer().id == "whisper_hf5-beam5-v2-english"
    assert WhisperRecognizer("auto", beams=2).id == "whisper_hf5-beam2-v2-auto"
    (first,) = make_metrics(["wer_whisper.whisper_hf5-beam5-v1-english.basic"])
    assert isinstance(first, WerMetric)
    assert isinstance(first.recognizer, WhisperRecognizer)
    assert not first.recognizer.search_loops_again
    assert GreedyWhisperRecognizer().id == "whisper_hf-greedy-english"
    (metric,) = make_metrics(["wer_whisper.whisper_hf-greedy-english.basic"])
    assert isinstance(metric, WerMetric)
    assert isinstance(metric.recognizer, GreedyWhisperRecognizer)


def test_greedy_windows_are_those_of_earlier_releases():
    windows = GreedyWhisperRecognizer()._windows(np.zeros(30 * 16000 + 320))
    assert [(w.start, w.end) for w in windows] == [(0, 480000), (480000, 480320)]


def test_words_that_the_model_may_have_invented_are_kept_and_told(recognizer, monkeypatch):
    made = recognizer()
    silence = RecognizedWindow("thank you", 0.9, "english")
    monkeypatch.setattr(made, "_recognize", lambda parts, distinct: [silence for _ in parts])
    found = made.transcribe_in_detail(np.zeros(16000), 16000)
    assert found.text == "thank you"
    assert found.details["possibly invented"] == "1 of 1 windows"
    assert "loops searched again" not in found.details


def test_loops_of_words_are_searched_again_and_told(recognizer, monkeypatch):
    rows = {0: "thank you " * 30, DISTINCT: "thank you and good night"}
    for again in (True, False):
        made = recognizer(search_loops_again=again, batch_size=2)
        asked = []

        def recognize(parts, distinct, asked=asked):
            asked.append((len(parts), distinct))
            loop = RecognizedWindow(rows[distinct], 0.1, "english")
            return [loop if part[0] else RecognizedWindow("yes", 0.1, "english") for part in parts]

        monkeypatch.setattr(made, "_recognize", recognize)
        clips = [np.full(16000, value) for value in (1.0, 0.0, 1.0)]
        found = made.transcribe_many(clips, 16000)
        assert asked == [(2, 0), (1, 0), *([(2, DISTINCT)] if again else [])]
        assert found[1].text == "yes"
        assert "possibly invented" not in found[1].details
        for looped in (found[0], found[2]):
            assert looped.text == " ".join(rows[DISTINCT if again else 0].split())
            assert looped.details["possibly invented"] == "1 of 1 windows"
            assert ("loops searched again" in looped.details) == again
    assert compression_ratio("some words that differ") < 2.4
    assert is_loop(rows[0])
    assert not is_loop("")


def test_the_second_search_says_no_three_tokens_twice(folder, recognizer, make_speech):
    made = recognizer(beams=2)
    made.max_new_tokens = 40
    made.prepare()
    tokenizer = made._model[1].tokenizer
    speech = [make_speech(2.0, seed=n, sample_rate=16000) for n in range(3)]
    repeated = 0
    for distinct in (0, DISTINCT):
        for row in made._recognize(speech, distinct):
            ids = tokenizer(row.words, add_special_tokens=False).input_ids
            triples = list(zip(ids, ids[1:], ids[2:], strict=False))
            if distinct:
                assert len(set(triples)) == len(triples)
            repeated += len(triples) - len(set(triples))
    assert repeated  # an untrained model repeats itself where it may


def test_a_model_of_english_alone_refuses_other_languages(folder, monkeypatch):
    monkeypatch.setenv(WHISPER.variable, str(folder))
    with pytest.raises(ValueError, match="multilingual Whisper model for 'german'"):
        WhisperRecognizer("german", max_new_tokens=5).transcribe(np.zeros(1600), 16000)


def test_doctor_says_how_to_get_whisper(monkeypatch):
    monkeypatch.setenv(WHISPER.variable, "")
    reasons = " ".join(obstacles(WerMetric(WhisperRecognizer())))
    assert "hf download" in reasons
    assert "--weight whisper=PATH" in reasons


def test_features_are_transcribed_as_the_waveform_they_are_of(recognizer, folder, make_speech):
    speech = make_speech(2.0, sample_rate=16000)
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(folder)
    features = extractor(speech, sampling_rate=16000, return_tensors="np").input_features[0]
    whole = recognizer()
    expected = whole.transcribe_in_detail(speech, 16000)
    assert expected.text
    # Cut at the recording's end: behind it the smallest value is put back.
    quiet = features[:, 202:]
    assert quiet.max() == quiet.min() == features.min()
    assert whole.transcribe_features(features[:, :202]) == expected
    for wrong in (features[:4], features[:, :0], np.tile(features, 2), features[0]):
        with pytest.raises(ValueError, match="features of 8 bands and 1 to 3000 frames"):
            whole.transcribe_features(wrong)
