"""Strings of words: what is held out stays out, and the sound is that of the recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.audio import read_audio, write_audio
from recipes.corpora.load import load_corpus
from recipes.corpora.manifest import CorpusRow
from recipes.corpora.word_strings import (
    FADE,
    SAMPLE_RATE,
    Takes,
    deal_known_voices,
    joined,
    plan_strings,
    runs,
    string_rows,
)
from recipes.runner.config import ConfigError, load_config
from recipes.runner.schema import StringsConfig

WORDS = ("one", "two", "three", "four")
SPEAKERS = {"train": ("ann", "bob"), "valid": ("ann", "bob"), "test": ("cid",)}


def word_rows(folder: Path = Path("words"), takes: int = 5) -> list[CorpusRow]:
    """Takes of four words: ann and bob in train and valid, cid in test."""
    return [
        CorpusRow(
            f"{split}_{speaker}_{word}_{take}", folder / "a.flac", 0.1, word, speaker, "en", split
        )
        for split, speakers in SPEAKERS.items()
        for speaker in speakers
        for word in WORDS
        for take in range(takes)
    ]


def settings(**changes: Any) -> StringsConfig:
    return StringsConfig(**{"train": 60, "valid": 8, "test": 6, "max_words": 5, **changes})


def test_no_held_out_string_occurs_in_train() -> None:
    planned = list(plan_strings(word_rows(), settings(), seed=0))
    texts = [(split, tuple(piece.row.text for piece in pieces)) for _, split, pieces in planned]
    held_out = [words for split, words in texts if split != "train"]
    train = [words for split, words in texts if split == "train"]
    assert (len(held_out), len(train)) == (14, 60)
    assert len(set(held_out)) == len(held_out)
    assert all(3 <= len(words) <= 5 for words in held_out)
    assert min(len(words) for words in train) < 3
    assert not set(held_out) & {run for words in train for run in runs(words, 1)}


def test_a_string_is_one_speakers_and_of_its_own_split() -> None:
    for name, split, pieces in plan_strings(word_rows(), settings(), seed=1):
        assert {piece.row.split for piece in pieces} == {split}
        assert {piece.row.speaker for piece in pieces} == {name.rpartition("_")[2]}
        assert all(0.1 <= piece.pause <= 0.25 for piece in pieces)


def test_the_seed_alone_decides() -> None:
    first, again, other = (list(plan_strings(word_rows(), settings(), seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_every_take_is_used_before_any_is_used_again() -> None:
    import random

    rows = [row for row in word_rows() if row.split == "train"]
    takes = Takes(rows, random.Random(0))
    first = [takes.take("ann", "two").id for _ in range(5)]
    assert len(set(first)) == 5
    assert takes.take("ann", "two").id in first


def test_known_voices_come_to_test_with_recordings_of_their_own() -> None:
    dealt = deal_known_voices(word_rows(), settings(known_in_test=0.4))
    moved = [row for row in dealt if row.split == "test" and row.speaker != "cid"]
    assert len(moved) == 2 * len(WORDS) * 2
    assert {row.id.rpartition("_")[2] for row in moved} == {"0", "1"}
    assert sum(row.split == "valid" for row in dealt) == 3 * len(WORDS) * 2
    assert deal_known_voices(word_rows(), settings()) == word_rows()


def test_too_few_different_strings_are_refused() -> None:
    wanted = settings(valid=100, max_words=3)
    with pytest.raises(ValueError, match=r"strings\.valid: no further string of 3 to 3 of 4 words"):
        list(plan_strings(word_rows(), wanted, seed=0))


def test_a_recording_of_several_words_is_refused(tmp_path: Path) -> None:
    row = CorpusRow("a", tmp_path / "a.flac", 1.0, "one two", "ann", "en", "train")
    with pytest.raises(ValueError, match="one word a recording, got 'one two'"):
        string_rows([row], settings(), tmp_path, seed=0)


@pytest.fixture
def corpus(tmp_path: Path) -> list[CorpusRow]:
    """Recordings on disk: a constant level for every word."""
    rows = []
    for row in word_rows(tmp_path, takes=1):
        level = 0.1 * (1 + WORDS.index(row.text))
        path = tmp_path / f"{row.id}.flac"
        write_audio(path, np.full(2400, level, dtype=np.float32), SAMPLE_RATE)
        rows.append(CorpusRow(row.id, path, 0.1, row.text, row.speaker, "en", row.split))
    return rows


def test_a_string_sounds_as_its_recordings_with_pauses(corpus: list[CorpusRow]) -> None:
    (_, _, pieces), *_ = plan_strings(corpus, settings(), seed=0)
    waveform = joined(pieces, {})
    gaps = sum(round(piece.pause * SAMPLE_RATE) for piece in pieces[:-1])
    assert len(waveform) == 2400 * len(pieces) + gaps
    fade = round(FADE * SAMPLE_RATE)
    recorded = read_audio(pieces[0].row.audio, SAMPLE_RATE)
    np.testing.assert_array_equal(waveform[fade : 2400 - fade], recorded[fade : 2400 - fade])
    assert waveform[0] == 0
    assert not waveform[2400 : 2400 + 100].any()


def test_strings_are_made_once_and_read_back(corpus: list[CorpusRow], tmp_path: Path) -> None:
    folder = tmp_path / "strings"
    made = string_rows(corpus, settings(train=6), folder, seed=0)
    assert [row.split for row in made].count("train") == 6
    assert all(len(row.extra["parts"]) == len(row.text.split()) for row in made)
    assert len(read_audio(made[0].audio, SAMPLE_RATE)) == round(made[0].duration * SAMPLE_RATE)
    (folder / "audio").rename(folder / "elsewhere")
    assert string_rows(corpus, settings(train=6), folder, seed=0) == made


def test_a_corpus_is_left_alone_unless_strings_are_asked_for(
    make_corpus: Any, make_config: Any, save_records: Any, tmp_path: Path
) -> None:
    folder, records = make_corpus((6, 4, 4))
    assert len(load_corpus(make_config(folder), tmp_path / "work")) == 14
    words = [record | {"text": WORDS[index % 4]} for index, record in enumerate(records)]
    save_records(folder, words)
    config = make_config(folder, "strings.train=4", "strings.valid=2", "strings.test=2")
    assert [row.split for row in load_corpus(config, tmp_path / "work")].count("train") == 4


@pytest.mark.parametrize(
    "wrong",
    ["strings.train=-1", "strings.min_words=4", "strings.min_pause=1", "strings.known_in_test=1"],
)
def test_settings_that_cannot_be_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong.split("=", maxsplit=1)[0]):
        load_config("recipes/configs/smoke.yaml", ["corpus=x", "run=y", wrong])
