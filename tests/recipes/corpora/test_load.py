"""Corpora from where they lie: folders, storage, published layouts, cutsets, several at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from codec.audio.sources import FolderSource
from recipes.corpora.load import load_corpus, source_corpus
from recipes.runner.config import Config
from slm.storage.sync import push


def test_a_folder_without_a_manifest_says_what_was_looked_for(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="espeak, kokoro, ljspeech, libritts or a folder"):
        load_corpus(make_config(tmp_path / "absent"), tmp_path)


def test_a_corpus_in_object_storage_is_read_from_a_local_copy(
    make_corpus: Callable[..., tuple[Path, list[dict[str, Any]]]],
    make_config: Callable[..., Config],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HH_SLM_CACHE", str(tmp_path / "cache"))
    folder, records = make_corpus()
    url = f"memory://{tmp_path.name}/corpus"
    push(folder, url, progress=False)
    rows = load_corpus(make_config(url), tmp_path)
    assert [row.id for row in rows] == [record["id"] for record in records]
    assert rows[0].audio.is_relative_to(tmp_path / "cache")
    assert rows[0].audio.read_bytes() == (folder / records[0]["audio"]).read_bytes()


def test_ljspeech_is_read_in_its_published_layout(
    make_config: Callable[..., Config], make_waveform: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    root = tmp_path / "LJSpeech-1.1"
    (root / "wavs").mkdir(parents=True)
    lines = []
    for index in range(40):
        name = f"LJ001-{index:04d}"
        soundfile.write(root / "wavs" / f"{name}.wav", make_waveform(0.1, 22_050), 22_050)
        lines.append(f"{name}|Printed in {index}, he said.|Printed in numbers, he said.\n")
    (root / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    config = make_config("ljspeech", f"corpora.folder={tmp_path}", "prepare.test_fraction=0.4")
    rows = load_corpus(config, tmp_path)
    assert len(rows) == 40
    assert (rows[3].id, rows[3].text) == ("LJ001-0003", "Printed in 3, he said.")
    assert rows[3].duration == pytest.approx(0.1)
    assert {row.split for row in rows} >= {"train", "test"}
    assert (rows[3].speaker, rows[3].extra["text_norm"]) == (
        "ljspeech",
        "Printed in numbers, he said.",
    )
    (root / "wavs" / "LJ001-0007.wav").unlink()
    with pytest.raises(ValueError, match=r"LJ001-0007\.wav: missing or unreadable"):
        load_corpus(config, tmp_path)
    (root / "metadata.csv").write_text("one|field\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"metadata\.csv:1: expected id\|text\|normalized"):
        load_corpus(config, tmp_path)


@pytest.fixture
def libritts(make_waveform: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    for subset in ("train-clean-100", "dev-clean", "test-clean"):
        chapter = tmp_path / "LibriTTS" / subset / "84" / "121123"
        chapter.mkdir(parents=True)
        for index in range(2):
            name = f"84_121123_{index:06d}_{subset}"
            soundfile.write(chapter / f"{name}.wav", make_waveform(0.2), 24_000)
            (chapter / f"{name}.original.txt").write_text(f"Mr. {index}!\n")
            (chapter / f"{name}.normalized.txt").write_text(f"Mister {index}!\n")
    return tmp_path


def test_libritts_is_read_in_its_published_layout(
    make_config: Callable[..., Config], libritts: Path
) -> None:
    rows = load_corpus(make_config("libritts", f"corpora.folder={libritts}"), libritts)
    assert [row.split for row in rows] == ["train", "train", "valid", "valid", "test", "test"]
    assert (rows[1].speaker, rows[1].text, rows[1].lang) == ("84", "Mr. 1!", "en")
    assert rows[2].extra == {"source": "libritts_dev-clean", "text_norm": "Mister 0!"}


def test_a_clip_of_libritts_without_its_text_is_named(
    make_config: Callable[..., Config], libritts: Path
) -> None:
    next(libritts.rglob("*000001*.original.txt")).unlink()
    with pytest.raises(ValueError, match=r"000001.*original\.txt: cannot read this transcript"):
        load_corpus(make_config("libritts", f"corpora.folder={libritts}"), libritts)


@pytest.mark.parametrize(
    ("corpus", "overrides", "part"),
    [
        ("libritts", (), r"LibriTTS.train-clean-100: not found.*corpora\.download=true"),
        ("ljspeech", (), r"LJSpeech-1\.1: not found.*corpora\.download=true"),
        ("libritts", ("corpora.train_subsets=train-clean",), "train_subsets: expected some of"),
    ],
)
def test_a_published_corpus_that_is_not_there_says_how_to_get_it(
    make_config: Callable[..., Config],
    tmp_path: Path,
    corpus: str,
    overrides: tuple[str, ...],
    part: str,
) -> None:
    config = make_config(corpus, f"corpora.folder={tmp_path}", *overrides)
    with pytest.raises(ValueError, match=part):
        load_corpus(config, tmp_path)


def test_further_corpora_join_under_their_own_sources(
    make_corpus: Callable[..., tuple[Path, list[dict[str, Any]]]],
    make_config: Callable[..., Config],
    save_records: Callable[[Path, list[dict[str, Any]]], None],
    tmp_path: Path,
) -> None:
    folder, _ = make_corpus((2, 1, 1))
    other, records = make_corpus((3, 1, 0), name="other")
    config = make_config(folder, f"further_corpora=[{other}]")
    with pytest.raises(ValueError, match=r"ids of one corpus each, got \['train_0'"):
        load_corpus(config, tmp_path / "work")
    save_records(other, [{**record, "id": f"other_{record['id']}"} for record in records])
    rows = load_corpus(config, tmp_path / "work")
    assert [row.id for row in rows[:2]] == ["train_0", "train_1"]
    joined = [row for row in rows if row.extra.get("source") == "other"]
    assert (len(rows), len(joined)) == (8, 4)
    assert all(row.audio.is_file() for row in rows)
    with pytest.raises(ValueError, match="further_corpora: expected a folder that holds"):
        load_corpus(make_config(folder, f"further_corpora=[{tmp_path}/none]"), tmp_path / "work")


@pytest.mark.parametrize("name", ["cuts.jsonl.gz", "cuts.jsonl"])
def test_a_cutset_is_a_source_of_crops_where_its_recordings_lie(
    tmp_path: Path, make_waveform: Callable[..., np.ndarray], name: str
) -> None:
    lhotse = pytest.importorskip("lhotse")
    stereo = np.stack([make_waveform(2.0), make_waveform(2.0, pitch=80.0)], axis=1)
    soundfile.write(tmp_path / "call.wav", stereo, 24_000)
    recording = lhotse.Recording.from_file(tmp_path / "call.wav")

    def cut(key: str, start: float, channel: int, *spans: float) -> Any:
        said = [
            lhotse.SupervisionSegment(f"{key}{n}", recording.id, at, 0.5, channel, speaker=key)
            for n, at in enumerate(spans)
        ]
        return lhotse.MonoCut(key, start, 1.0, channel, recording=recording, supervisions=said)

    cuts = [cut("anna", 0.25, 0, 0.0, 0.5), cut("bert", 0.5, 1, 0.25), cut("window", 0.5, 1, 0.75)]
    lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / name)
    manifest = source_corpus("calls", tmp_path / name, tmp_path / "run")
    assert manifest == tmp_path / "run/cuts_calls/manifest.jsonl"
    source = FolderSource(manifest, 24_000, select={"speaker": "bert"})
    assert [(row["id"], row["num_samples"]) for row in source.rows] == [("bert", 24_000)]
    stored, _ = soundfile.read(tmp_path / "call.wav", dtype="float32")
    np.testing.assert_array_equal(source.crop(0, 100, 500), stored[12_100:12_600, 1])
    assert not list((tmp_path / "run").rglob("*.flac"))
    skipped = (tmp_path / "run/cuts_calls/skipped.jsonl").read_text()
    assert "got a part of 'window0'" in skipped


def test_other_corpora_are_sources_as_they_are(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps({"id": "a", "audio": "a.wav", "type": "MonoCut"}) + "\n")
    assert source_corpus("a", manifest, tmp_path / "run") == manifest
    assert source_corpus("a", tmp_path, tmp_path / "run") == tmp_path
    (tmp_path / "broken.jsonl").write_text("[1]\n")
    assert source_corpus("a", tmp_path / "broken.jsonl", tmp_path) == tmp_path / "broken.jsonl"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_recording_in_two_splits_is_refused(
    make_corpus: Callable[..., tuple[Path, list[dict[str, Any]]]],
    make_config: Callable[..., Config],
    save_records: Callable[[Path, list[dict[str, Any]]], None],
    tmp_path: Path,
    split: str,
) -> None:
    folder, records = make_corpus((2, 1, 1))
    twin = {**next(row for row in records if row["split"] == "train"), "id": "twin"}
    save_records(folder, [*records, twin])
    # Two texts of one recording may stand in one split.
    assert len(load_corpus(make_config(folder), tmp_path / "work")) == 5
    save_records(folder, [*records, {**twin, "split": split}])
    with pytest.raises(ValueError, match=f"got {split} as 'twin' and train as"):
        load_corpus(make_config(folder), tmp_path / "work")
