from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.corpora.espeak import VOICES, Espeak, Voice, espeak_rows
from recipes.corpora.espeak_sentences import make_sentences
from recipes.runner.schema import EspeakConfig

SETTINGS = EspeakConfig(
    train_sentences=6, valid_sentences=2, test_sentences=2, train_voices=2, test_voices=2
)


def test_sentences_are_different_and_the_same_for_a_seed() -> None:
    sentences = make_sentences(500, seed=1)
    assert len(set(sentences)) == 500
    assert make_sentences(20, seed=1) == sentences[:20]
    assert make_sentences(20, seed=2) != sentences[:20]


def test_sentences_are_plain_english_words() -> None:
    for sentence in make_sentences(500, seed=0):
        assert sentence[0].isupper()
        assert sentence[-1] in ".?"
        assert sentence[:-1].replace(",", "").replace(" ", "").isalpha(), sentence
        assert 4 <= len(sentence.split()) <= 18


@pytest.mark.parametrize("count", [0, 50_001])
def test_a_count_beyond_the_grammar_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"\[1, 50000\]"):
        make_sentences(count, seed=0)


def test_all_voices_speak_and_no_two_alike() -> None:
    spoken = {}
    for voice in VOICES:
        with Espeak() as espeak:
            waveform = espeak.speak("The old man found a red boat.", voice)
        assert espeak.sample_rate == 22_050
        assert 1.0 < len(waveform) / espeak.sample_rate < 4.0, voice
        assert 0.1 < np.abs(waveform).max() <= 1.0, voice
        spoken[waveform.tobytes()] = voice
    assert len(spoken) == len(VOICES) == len({voice.name for voice in VOICES})


def test_a_faster_voice_takes_less_time() -> None:
    def seconds(rate: int) -> float:
        with Espeak() as espeak:
            spoken = espeak.speak("A bell was ringing last night.", Voice("en-us+f2", rate, 50))
            return len(spoken) / espeak.sample_rate

    assert seconds(120) > 1.3 * seconds(220)


def test_what_was_said_before_changes_nothing_in_a_fresh_library() -> None:
    def speak(*texts: str) -> list[bytes]:
        with Espeak() as espeak:
            return [espeak.speak(text, VOICES[0]).tobytes() for text in texts]

    first = speak("One.", "Two birds.")
    speak("Something else altogether, at some length.")
    assert speak("One.", "Two birds.") == first


@pytest.mark.parametrize("name", ["en-us+nobody", "xx-nowhere+f2", "en-us"])
def test_a_voice_that_does_not_exist_is_named(name: str) -> None:
    with Espeak() as espeak, pytest.raises(ValueError, match=f"no voice '{re.escape(name)}'"):
        espeak.speak("One.", Voice(name, 160, 50))


def test_a_text_without_sound_is_refused() -> None:
    with Espeak() as espeak, pytest.raises(ValueError, match="made no sound"):
        espeak.speak("", VOICES[0])


def test_splits_share_no_sentence_and_test_has_its_own_voices(tmp_path: Path) -> None:
    rows = espeak_rows(SETTINGS, tmp_path, seed=0)
    by_split = {split: [row for row in rows if row.split == split] for split in ("train", "valid")}
    test = [row for row in rows if row.split == "test"]
    assert [len(by_split["train"]), len(by_split["valid"]), len(test)] == [6, 2, 2]
    assert len({row.text for row in rows}) == len(rows)
    known = {row.speaker for row in by_split["train"]}
    assert {row.speaker for row in by_split["valid"]} <= known
    assert {row.speaker for row in test}.isdisjoint(known)
    for row in rows:
        info = soundfile.info(row.audio)
        assert (info.samplerate, info.channels) == (24_000, 1)
        assert info.duration == pytest.approx(row.duration, abs=1e-4)
        assert row.extra["synthetic"]


def test_the_corpus_is_the_same_every_time_and_not_spoken_twice(tmp_path: Path) -> None:
    first = espeak_rows(SETTINGS, tmp_path / "a", seed=0)
    second = espeak_rows(SETTINGS, tmp_path / "b", seed=0)
    assert [row.audio.read_bytes() for row in first] == [row.audio.read_bytes() for row in second]
    times = [row.audio.stat().st_mtime_ns for row in first]
    again = espeak_rows(SETTINGS, tmp_path / "a", seed=0)
    assert again == first
    assert [row.audio.stat().st_mtime_ns for row in again] == times


def test_more_voices_than_there_are_is_refused(tmp_path: Path) -> None:
    settings = EspeakConfig(train_voices=len(VOICES), test_voices=1)
    with pytest.raises(ValueError, match=f"at most {len(VOICES)}"):
        espeak_rows(settings, tmp_path, seed=0)
