"""The stage `prepare`: levels, rates, and which clips are left out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from codec.audio.io import read_audio
from codec.audio.store import AudioStore
from recipes import prepare
from recipes.runner.config import Config
from recipes.runner.stages import run_stage

MakeCorpus = Callable[..., tuple[Path, list[dict[str, Any]]]]
MakeConfig = Callable[..., Config]
Save = Callable[[Path, list[dict[str, Any]]], None]


def skipped(folder: Path) -> dict[str, dict[str, str]]:
    lines = (folder / "skipped.jsonl").read_text().splitlines()
    return {record["id"]: record for record in map(json.loads, lines)}


def rms_dbfs(waveform: np.ndarray) -> float:
    return 20 * math.log10(float(np.sqrt(np.mean(waveform**2))))


def test_every_split_becomes_a_store_of_equal_loudness(
    make_corpus: MakeCorpus, make_config: MakeConfig
) -> None:
    corpus, records = make_corpus((4, 2, 1))
    folder = prepare.main(make_config(corpus, "prepare.loudness_dbfs=-26"))
    for split, count in (("train", 4), ("valid", 2), ("test", 1)):
        store = AudioStore(folder / split)
        assert (len(store), store.sample_rate) == (count, 24_000)
        for index in range(count):
            assert rms_dbfs(store.waveform(index)) == pytest.approx(-26, abs=0.01)
    row = AudioStore(folder / "train").rows[1]
    expected = {key: records[1][key] for key in ("id", "text", "speaker", "lang", "split")}
    assert {key: row[key] for key in expected} == expected
    assert (row["gender"], row["source"], row["duration"]) == ("f", "corpus", 0.5)
    assert row["num_samples"] == 12_000
    assert skipped(folder) == {}


def test_clips_keep_their_levels_where_none_is_asked_for(
    make_corpus: MakeCorpus, make_config: MakeConfig
) -> None:
    corpus, records = make_corpus((2, 1, 1))
    folder = prepare.main(make_config(corpus, "prepare.loudness_dbfs=null"))
    store = AudioStore(folder / "train")
    for index, record in enumerate(records[:2]):
        recording = read_audio(corpus / record["audio"], 24_000)
        np.testing.assert_allclose(store.waveform(index), recording, atol=1 / 32767)


def test_loudness_stops_where_the_peak_would_clip(
    make_corpus: MakeCorpus, make_config: MakeConfig
) -> None:
    corpus, _ = make_corpus((1, 1, 1))
    clicks = np.full(12_000, 1e-3, dtype=np.float32)
    clicks[6000] = 0.5
    soundfile.write(corpus / "audio" / "train_0.wav", clicks, 24_000)
    folder = prepare.main(make_config(corpus))
    waveform = AudioStore(folder / "train").waveform(0)
    assert np.abs(waveform).max() == pytest.approx(1.0, abs=1e-3)
    assert rms_dbfs(waveform) < -23


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_any_sample_rate_is_resampled(
    make_corpus: MakeCorpus, make_config: MakeConfig, sample_rate: int
) -> None:
    corpus, _ = make_corpus((1, 1, 1), sample_rate)
    store = AudioStore(prepare.main(make_config(corpus)) / "train")
    assert store.rows[0]["num_samples"] == pytest.approx(12_000, abs=1)
    spectrum = np.abs(np.fft.rfft(store.waveform(0)))
    peak_hz = spectrum.argmax() * 24_000 / store.rows[0]["num_samples"]
    assert 80 < peak_hz < 125


def test_stereo_is_averaged(make_corpus: MakeCorpus, make_config: MakeConfig) -> None:
    corpus, _ = make_corpus((2, 1, 1))
    mono, rate = soundfile.read(corpus / "audio" / "train_0.wav", dtype="float32")
    stereo = np.stack([mono * 0.25, mono * 0.75], axis=1)
    soundfile.write(corpus / "audio" / "train_1.wav", stereo, rate)
    store = AudioStore(prepare.main(make_config(corpus)) / "train")
    np.testing.assert_allclose(store.waveform(1), store.waveform(0), atol=2e-4)


def break_file(path: Path, how: str) -> None:
    """Spoil a recording in one of the ways that recordings are spoilt."""
    whole = path.read_bytes()
    waveform, rate = soundfile.read(path, dtype="float32")
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "no audio":
        path.write_text("this is a letter, not a recording\n" * 50)
    elif how == "NaN":
        waveform[100] = np.nan
        soundfile.write(path, waveform, rate, subtype="FLOAT")
    elif how == "silent":
        soundfile.write(path, np.zeros_like(waveform), rate)
    elif how == "longer than stated":
        soundfile.write(path, np.tile(waveform, 3), rate)


BROKEN = ("missing", "empty", "truncated", "no audio", "NaN", "silent", "longer than stated")


@pytest.mark.parametrize("how", BROKEN)
def test_a_bad_recording_is_left_out_and_listed(
    make_corpus: MakeCorpus, make_config: MakeConfig, how: str
) -> None:
    corpus, _ = make_corpus((4, 1, 1))
    break_file(corpus / "audio" / "train_2.wav", how)
    folder = prepare.main(make_config(corpus, "prepare.max_unreadable=0.2"))
    assert [row["id"] for row in AudioStore(folder / "train").rows] == [
        "train_0",
        "train_1",
        "train_3",
    ]
    assert list(skipped(folder)) == ["train_2"]
    record = skipped(folder)["train_2"]
    assert (record["kind"], record["split"]) == ("unreadable", "train")
    assert "train_2.wav" in record["reason"]


@pytest.mark.parametrize("how", BROKEN)
def test_too_many_bad_recordings_stop_the_stage_and_leave_nothing_half(
    make_corpus: MakeCorpus, make_config: MakeConfig, how: str
) -> None:
    corpus, _ = make_corpus((4, 1, 1))
    break_file(corpus / "audio" / "train_2.wav", how)
    config = make_config(corpus)
    with pytest.raises(ValueError, match=r"more than 1\.0% .*max_unreadable") as caught:
        run_stage(config, "prepare")
    assert "train_2" in str(caught.value)
    left = {path.name for path in (Path(config.run) / "prepare").iterdir()}
    assert left == {"settings.json", "config.yaml"}


def test_clips_are_left_out_by_language_and_duration_and_listed(
    make_corpus: MakeCorpus, make_config: MakeConfig, save_records: Save
) -> None:
    corpus, records = make_corpus((6, 2, 2))
    for record, seconds in ((records[0], 0.05), (records[2], 31.0)):
        record["duration"] = seconds
    save_records(corpus, records)
    folder = prepare.main(make_config(corpus, "languages=en"))
    assert [row["id"] for row in AudioStore(folder / "train").rows] == ["train_4"]
    kinds = {name: record["kind"] for name, record in skipped(folder).items()}
    assert kinds == {
        "train_0": "duration",
        "train_1": "language",
        "train_2": "duration",
        "train_3": "language",
        "train_5": "language",
        "valid_1": "language",
        "test_1": "language",
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["skipped"] == {"duration": 2, "language": 5}
    assert metrics["train"] == {"clips": 1, "hours": pytest.approx(0.5 / 3600, abs=1e-4)} | {
        "speakers": 1
    }


def test_a_limit_is_spread_over_the_manifest(
    make_corpus: MakeCorpus, make_config: MakeConfig
) -> None:
    corpus, _ = make_corpus((9, 2, 1))
    folder = prepare.main(make_config(corpus, "prepare.limit=3"))
    ids = [row["id"] for row in AudioStore(folder / "train").rows]
    assert ids == ["train_0", "train_3", "train_6"]
    assert {record["kind"] for record in skipped(folder).values()} == {"limit"}


def test_a_split_without_clips_is_refused_with_what_to_check(
    make_corpus: MakeCorpus, make_config: MakeConfig
) -> None:
    corpus, _ = make_corpus((2, 1, 1))
    with pytest.raises(ValueError, match=r"no clip is left in split 'valid'.*languages"):
        prepare.main(make_config(corpus, "languages=de"))


@pytest.mark.slow
def test_several_processes_make_the_same_store_as_one(
    make_corpus: MakeCorpus, make_config: MakeConfig
) -> None:
    corpus, _ = make_corpus((20, 1, 1))
    alone = prepare.main(make_config(corpus))
    together = prepare.main(make_config(corpus, f"run={alone.parent}2", "threads=2"))
    for name in ("audio.i16", "items.jsonl"):
        assert (together / "train" / name).read_bytes() == (alone / "train" / name).read_bytes()
