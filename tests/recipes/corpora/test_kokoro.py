# ruff: noqa: RUF001 - letters of phones
from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes.corpora.kokoro import kokoro_rows, plan_clips, plan_speakers
from recipes.corpora.kokoro_model import Kokoro, read_sentences
from recipes.corpora.load import load_corpus
from recipes.corpora.manifest import read_manifest
from recipes.runner.config import Config
from recipes.runner.schema_corpora import KokoroConfig
from recipes.runner.stages import settings_of
from tests.support.kokoro import VOICE_NAMES, Session, onnx_runtime, write_model

pytest.importorskip("espeakng_loader")
SENTENCES = [f"Sentence number {word} is here." for word in ("one", "two", "three", "four", "five")]


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    monkeypatch.setitem(sys.modules, "onnxruntime", onnx_runtime())
    return Session


@pytest.fixture
def settings(tmp_path: Path) -> KokoroConfig:
    (tmp_path / "sentences.txt").write_text("\n".join([*SENTENCES, "", SENTENCES[0]]))
    return KokoroConfig(
        model=str(write_model(tmp_path / "model")),
        sentences=str(tmp_path / "sentences.txt"),
        held_out_sentences=2,
        hours=20 / 3600,
        held_out_seconds=2.0,
        valid_voices=1,
        test_voices=1,
        blends=2,
    )


def changed(settings: KokoroConfig, **values: Any) -> KokoroConfig:
    return KokoroConfig(**{**vars(settings), **values})


def test_a_corpus_is_spoken_and_its_manifest_says_by_whom(
    settings: KokoroConfig, tmp_path: Path
) -> None:
    rows = kokoro_rows(settings, tmp_path / "spoken", seed=3)
    assert rows == read_manifest(tmp_path / "spoken" / "manifest.jsonl")
    for row in rows:
        info = soundfile.info(row.audio)
        assert (info.samplerate, info.channels) == (24_000, 1)
        assert info.duration == pytest.approx(row.duration, abs=1e-4)
        assert row.extra["license"] == "Apache-2.0"
        assert row.extra["model"] == "Kokoro-82M (tiny.onnx)"
        assert row.extra["synthetic"] is True
        assert 0.9 <= row.extra["speed"] <= 1.12
    blend = next(row for row in rows if row.speaker == "kokoro_blend000")
    shares = [float(part.split()[0]) for part in blend.extra["voice"].split(" + ")]
    assert sum(shares) == pytest.approx(1.0)


def test_splits_share_neither_sentence_nor_voice(settings: KokoroConfig, tmp_path: Path) -> None:
    clips = plan_clips(settings, tmp_path, VOICE_NAMES, "tiny.onnx", 3)
    texts, voices = {}, {}
    for clip in clips:
        texts.setdefault(clip.row.split, set()).add(clip.row.text)
        voices.setdefault(clip.row.split, set()).update(clip.shares)
    assert set(texts) == {"train", "valid", "test"}
    assert texts["valid"] == {SENTENCES[0]}
    assert texts["test"] == {SENTENCES[1]}
    assert texts["train"] == set(SENTENCES[2:])
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert voices[one].isdisjoint(voices[other])


def test_a_run_that_was_cut_off_goes_on_where_it_was(
    settings: KokoroConfig, tmp_path: Path
) -> None:
    rows = kokoro_rows(settings, tmp_path / "spoken", seed=3)
    before = [row.audio.read_bytes() for row in rows]
    Session.calls.clear()
    kokoro_rows(settings, tmp_path / "spoken", seed=3)
    assert Session.calls == []
    rows[1].audio.unlink()
    kokoro_rows(settings, tmp_path / "spoken", seed=3)
    assert len(Session.calls) == 1
    assert [row.audio.read_bytes() for row in rows] == before


def test_more_hours_add_to_what_is_there(settings: KokoroConfig, tmp_path: Path) -> None:
    few = kokoro_rows(settings, tmp_path / "spoken", seed=3)
    Session.calls.clear()
    many = kokoro_rows(changed(settings, hours=40 / 3600), tmp_path / "spoken", seed=3)
    assert {row.id for row in few} < {row.id for row in many}
    assert len(Session.calls) == len(many) - len(few)


def test_other_speeds_are_spoken_anew(settings: KokoroConfig, tmp_path: Path) -> None:
    kokoro_rows(settings, tmp_path / "spoken", seed=3)
    Session.calls.clear()
    slower = changed(settings, min_speed=0.5, max_speed=0.6)
    assert len(kokoro_rows(slower, tmp_path / "spoken", seed=3)) == len(Session.calls)


def test_silence_is_cut_and_peaks_stay_below_full_scale(settings: KokoroConfig) -> None:
    with Kokoro(Path(settings.model)) as kokoro:
        waveform = kokoro.speak("A word.", {"af_two": 1.0}, 1.0)
    tokens = Session.calls[0]["tokens"].size
    assert len(waveform) == pytest.approx(tokens * 1_200 + 2 * 0.08 * 24_000, abs=300)
    assert 0.9 < np.abs(waveform).max() <= 0.981


def test_a_blend_has_both_styles(settings: KokoroConfig) -> None:
    with Kokoro(Path(settings.model)) as kokoro:
        kokoro.speak("A word.", {"af_two": 0.25, "bm_five": 0.75}, 1.1)
    inputs = Session.calls[0]
    assert inputs["style"].shape == (1, 256)
    np.testing.assert_allclose(inputs["style"], 0.25 * 1 + 0.75 * 4)
    assert inputs["tokens"].dtype == np.int64
    assert inputs["tokens"][0, [0, -1]].tolist() == [0, 0]


def test_phones_are_those_of_the_accent_with_their_marks(settings: KokoroConfig) -> None:
    with Kokoro(Path(settings.model)) as kokoro:
        american = kokoro.phones('"Hello," he said; butter?', "af_one")
        british = kokoro.phones('"Hello," he said; butter?', "bf_four")
    assert american == '"həlˈO," hiː sˈɛd; bˈʌTəɹ?'.replace("ː", "")
    assert british == '"həlˈQ," hiː sˈɛd; bˈʌtə?'


def test_sentences_come_from_lines_and_from_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": "One.", "from": "a"}\n{"text": "Two."}\n{"text": "One."}\n')
    assert read_sentences(path) == ["One.", "Two."]
    (tmp_path / "some.txt").write_text("One.\n\n  Two. \n")
    assert read_sentences(tmp_path / "some.txt") == ["One.", "Two."]
    (tmp_path / "none.txt").write_text("\n")
    for name in ("none.txt", "missing.txt"):
        with pytest.raises(ValueError, match=r"kokoro\.sentences: expected"):
            read_sentences(tmp_path / name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"voices": ["af_nobody"]}, "kokoro.voices: expected some of"),
        ({"voices": ["af_one", "af_two"]}, "at least 3 voices"),
        ({"held_out_sentences": 5}, "more than 5 sentences"),
        ({"model": "/nowhere"}, "kokoro.model: expected a folder"),
    ],
)
def test_what_cannot_be_spoken_is_refused(
    settings: KokoroConfig, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kokoro_rows(changed(settings, **values), tmp_path / "spoken", seed=3)


@pytest.mark.parametrize("values", [{"hours": 0}, {"workers": 0}, {"min_speed": 2.0}])
def test_settings_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        KokoroConfig(**values)


def test_a_voice_that_the_model_lacks_and_a_text_without_sound_are_named(
    settings: KokoroConfig,
) -> None:
    with Kokoro(Path(settings.model)) as kokoro:
        with pytest.raises(ValueError, match="no voice 'af_nobody'"):
            kokoro.speak("One.", {"af_nobody": 1.0}, 1.0)
        with pytest.raises(ValueError, match="a text with sounds"):
            kokoro.speak(" ", {"af_one": 1.0}, 1.0)


def test_blends_are_fixed_by_the_seed(settings: KokoroConfig) -> None:
    assert plan_speakers(settings, VOICE_NAMES, 1) == plan_speakers(settings, VOICE_NAMES, 1)
    assert plan_speakers(settings, VOICE_NAMES, 1) != plan_speakers(settings, VOICE_NAMES, 2)


def test_a_run_names_the_corpus_and_others_do_not_depend_on_its_settings(
    settings: KokoroConfig, tmp_path: Path, make_config: Callable[..., Config]
) -> None:
    given = [f"kokoro.{k}={v}" for k, v in vars(settings).items() if k not in ("voices", "workers")]
    config = make_config("kokoro", *given)
    rows = load_corpus(config, tmp_path / "work")
    assert {row.split for row in rows} == {"train", "valid", "test"}
    assert "kokoro.hours" in settings_of(config, "prepare")
    assert "kokoro.hours" not in settings_of(make_config("espeak"), "prepare")


@pytest.mark.skipif("KOKORO" not in os.environ, reason="KOKORO names no folder of the model")
def test_the_model_itself_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onnxruntime")
    pytest.importorskip("onnxruntime")
    with Kokoro(Path(os.environ["KOKORO"])) as kokoro:
        waveform = kokoro.speak("The old man found a red boat.", {"af_heart": 1.0}, 1.0)
    assert 1.0 < len(waveform) / 24_000 < 4.0
    assert 0.1 < np.abs(waveform).max() <= 1.0
