"""What the evaluation counts of generated speech, and whose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.audio import write_audio
from codec.audio.store import AudioStoreWriter
from codec.files.json_lines import write_json_lines
from recipes.evaluate import generation_figures, main, word_scores, words
from recipes.evaluate_report import Scored
from recipes.runner.config import Config

RATE = 24_000


def clip(name: str, speaker: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "speaker": speaker, "text": "one two", "duration": 0.5, **fields}


@pytest.fixture
def spoken_run(
    make_config: Callable[..., Config], make_waveform: Callable[..., np.ndarray], tmp_path: Path
) -> Config:
    """Texts of test by ann, whom train knows, and by cid; the first and the best of two of each."""
    config = make_config("corpus", "generate.best_of=2", "generate.split=test")
    config.evaluate.words = ["one", "two"]
    run = Path(config.run)
    rows = [clip("a", "ann"), clip("b", "ann"), clip("c", "cid")]
    for split, of_split in (("train", [clip("t", "ann")]), ("test", rows)):
        with AudioStoreWriter(run / "prepare" / split, RATE) as writer:
            for row in of_split:
                writer.add(make_waveform(0.5, RATE), row)
    cut = {"truncated": True, "rejected": ["limit"] * 3}
    again = {"truncated": False, "rejected": ["loop"]}
    ended = {"truncated": False, "rejected": []}
    kinds = {
        "reconstructed/test": [ended] * 3,
        "spoken": [ended, again, cut],
        "spoken_first": [cut, again, cut],
    }
    for kind, ends in kinds.items():
        items = []
        for row, end in zip(rows, ends, strict=True):
            known = row["speaker"] == "ann"
            items.append({**row, **end, "known_speaker": known, "generated_duration": 1.0})
            write_audio(run / "generate" / kind / f"{row['id']}.flac", make_waveform(0.5), RATE)
        write_json_lines(run / "generate" / kind / "items.jsonl", items)
    return config


def test_runaway_speech_is_counted_by_voice_and_by_attempt(spoken_run: Config) -> None:
    figures = generation_figures(spoken_run)
    rates = {
        name: (each["clips"], each["runaway_rate"], each["first_attempt_runaway_rate"])
        for name, each in figures.items()
    }
    assert rates == {
        "spoken_known_speakers": (2, 0.0, 0.5),
        "spoken_unseen_speakers": (1, 1.0, 1.0),
        "spoken_first_known_speakers": (2, 0.5, 1.0),
        "spoken_first_unseen_speakers": (1, 1.0, 1.0),
    }
    assert figures["spoken_known_speakers"]["duration_ratio_median"] == 2.0


def test_words_of_every_version_are_scored_by_voice(spoken_run: Config, tmp_path: Path) -> None:
    scored = word_scores(spoken_run, tmp_path / "evaluate")
    versions = ("original", "reconstructed", "spoken", "spoken_first")
    assert set(scored) == {*versions, *(f"{name}_unseen" for name in versions)}
    counts = {name: each.summary["n_expected"] for name, each in scored.items()}
    assert all(counts[name] == 2 and counts[f"{name}_unseen"] == 1 for name in versions)


def test_words_of_a_second_recogniser_stand_beside_those_of_the_first(tmp_path: Path) -> None:
    def family(value: float) -> dict[str, Any]:
        figure = {"value": value, "ci95": [0.0, 1.0], "n_failed": 0}
        return {"figures": {"wer": figure, "cer": figure}}

    metrics = {"wer.pocketsphinx51.basic": family(0.5), "wer_whisper.any.basic": family(0.25)}
    summary = {"n_expected": 3, "n_speakers": 2, "metrics": metrics}
    figures = words(Scored(tmp_path, summary))
    assert (figures["wer"], figures["wer_whisper"], figures["cer_whisper"]) == (0.5, 0.25, 0.25)
    assert (figures["clips"], figures["speakers"], figures["failed"]) == (3, 2, 0)
    del metrics["wer_whisper.any.basic"]
    assert "wer_whisper" not in words(Scored(tmp_path, summary))


def test_a_folder_of_whisper_that_is_not_there_is_refused_before_any_work(
    spoken_run: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage was done without its rates, and nothing said why."""
    monkeypatch.setenv("HH_WEIGHT_WHISPER", str(tmp_path / "gone"))
    with pytest.raises(ValueError, match=r"wer_whisper.* cannot run: .*there is no such folder"):
        main(spoken_run)
    assert not (Path(spoken_run.run) / "evaluate").exists()
