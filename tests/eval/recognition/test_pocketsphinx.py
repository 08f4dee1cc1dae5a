"""The offline recogniser."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from eval.metrics.wer import word_edits
from eval.recognition.pocketsphinx import DIGITS, PocketSphinxRecognizer
from eval.sound import load_sound

DIGIT_CLIPS = Path(__file__).parents[4] / "shared" / "digits"


@pytest.fixture(scope="module")
def digits():
    recognizer = PocketSphinxRecognizer(DIGITS)
    recognizer.prepare()
    return recognizer


def test_a_closed_vocabulary_gives_no_other_word(digits, make_speech):
    for seed in range(3):
        words = digits.transcribe(make_speech(1.5, seed=seed), 24000)
        assert set(words.split()) <= set(DIGITS)


def test_a_closed_vocabulary_loads_no_trigrams(digits):
    assert digits._model.config["lm"] is None


def test_a_transcript_does_not_depend_on_earlier_waveforms(digits, make_speech):
    first, other = make_speech(1.5, seed=0), make_speech(1.5, seed=1)
    alone = digits.transcribe(first, 24000)
    digits.transcribe(0.01 * other, 24000)
    assert digits.transcribe(first, 24000) == alone


def test_a_pickled_recogniser_loads_again(digits, make_speech):
    copy = pickle.loads(pickle.dumps(digits))
    speech = make_speech(1.0, seed=2)
    assert copy.id == digits.id
    assert copy.transcribe(speech, 24000) == digits.transcribe(speech, 24000)


def test_every_vocabulary_has_its_own_id():
    ids = {
        PocketSphinxRecognizer().id,
        PocketSphinxRecognizer(DIGITS).id,
        PocketSphinxRecognizer(DIGITS[:3]).id,
    }
    assert len(ids) == 3


def test_a_grammar_limits_the_transcript(make_speech):
    rule = "#JSGF V1.0; grammar g; public <go> = go ( left | right );"
    words = PocketSphinxRecognizer(grammar=rule).transcribe(make_speech(1.5), 24000)
    assert words in {"", "go left", "go right"}


def test_a_word_without_pronunciation_is_refused():
    with pytest.raises(ValueError, match="zzyzxq"):
        PocketSphinxRecognizer(["one", "zzyzxq"]).prepare()


def test_a_broken_grammar_is_refused():
    with pytest.raises(ValueError, match="JSGF"):
        PocketSphinxRecognizer(grammar="no grammar").prepare()


def test_words_and_a_grammar_exclude_each_other():
    with pytest.raises(ValueError, match="got both"):
        PocketSphinxRecognizer(["one"], grammar="#JSGF V1.0;")
    with pytest.raises(ValueError, match="at least one word"):
        PocketSphinxRecognizer([])


@pytest.mark.skipif(not DIGIT_CLIPS.is_dir(), reason="no recorded digits beside the checkout")
def test_recorded_digits_are_mostly_recognised(digits):
    lines = (DIGIT_CLIPS / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["split"] == "valid"][::10]
    errors = 0
    for row in rows:
        sound = load_sound(DIGIT_CLIPS / row["audio"])
        padded = np.pad(sound.waveform, sound.sample_rate // 4)
        errors += min(1, word_edits(row["text"], digits.transcribe(padded, 24000)).errors)
    assert errors <= 0.4 * len(rows)
