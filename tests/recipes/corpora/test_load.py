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
from recipes.corpora.manifest import ManifestError, assign_splits, read_manifest, write_manifest
from recipes.runner.config import Config
from slm.storage.sync import push

RECORD = {
    "id": "a",
    "audio": "audio/a.wav",
    "duration": 1.5,
    "text": "",
    "speaker": "s",
    "lang": "en",
    "split": "train",
}


def write_lines(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_row_keeps_its_fields_and_carries_the_others(tmp_path: Path) -> None:
    record = {**RECORD, "gender": "f", "has_text": False, "age": None}
    (row,) = read_manifest(write_lines(tmp_path, json.dumps(record), ""))
    assert (row.id, row.duration, row.speaker, row.lang) == ("a", 1.5, "s", "en")
    assert row.audio == tmp_path / "audio" / "a.wav"
    assert row.extra == {"gender": "f", "has_text": False, "age": None}


def test_a_manifest_is_written_as_it_was_read(tmp_path: Path) -> None:
    records = [{**RECORD, "gender": "f"}, {**RECORD, "id": "ü", "text": "naïve"}]
    rows = read_manifest(write_lines(tmp_path, *(json.dumps(record) for record in records)))
    write_manifest(tmp_path / "manifest.jsonl", rows)
    assert read_manifest(tmp_path / "manifest.jsonl") == rows


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"id": 5}, "id: expected a string, got 5"),
        ({"text": "\ud800"}, "text: expected a text that UTF-8 can hold"),
        ({"audio": "a\0.wav"}, "audio: expected a path without NUL"),
        ({"snr": float("nan")}, "snr: expected a finite number, got nan"),
        ({"mos": {"ovrl": [1.0, float("inf")]}}, "mos.ovrl[1]: expected a finite number"),
        ({"id": ""}, "id: expected a string that is not empty"),
        ({"audio": None}, "audio: expected a string, got None"),
        ({"text": ["a"]}, "text: expected a string"),
        ({"duration": "1.5"}, "duration: expected seconds > 0, got '1.5'"),
        ({"duration": 0}, "duration: expected seconds > 0, got 0"),
        ({"duration": float("nan")}, "duration: expected seconds > 0, got nan"),
        ({"duration": True}, "duration: expected seconds > 0, got True"),
        ({"split": "dev"}, "split: expected one of train, valid, test, got 'dev'"),
        ({"id": "a"}, "id: 'a' stands on line 1 already"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(
    tmp_path: Path, change: dict[str, Any], part: str
) -> None:
    second = {**RECORD, "id": "b", **change}
    path = write_lines(tmp_path, json.dumps(RECORD), json.dumps(second))
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert f"{path}:2: {part}" in str(caught.value)


@pytest.mark.parametrize("name", ["id", "audio", "text", "speaker", "lang"])
def test_a_missing_field_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    record = {key: value for key, value in RECORD.items() if key != name}
    path = write_lines(tmp_path, "", json.dumps(record))
    with pytest.raises(ManifestError, match=rf":2: {name}: .*the field is missing"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (["{oops"], ":1: not valid JSON"),
        (["[1]"], ":1: expected a JSON object, got list"),
        ([], "empty manifest"),
    ],
)
def test_a_broken_manifest_is_named(tmp_path: Path, lines: list[str], part: str) -> None:
    with pytest.raises(ManifestError, match=part):
        read_manifest(write_lines(tmp_path, *lines))


def test_splits_on_some_lines_only_are_refused(tmp_path: Path) -> None:
    without = {key: value for key, value in RECORD.items() if key != "split"} | {"id": "b"}
    path = write_lines(tmp_path, json.dumps(RECORD), json.dumps(without))
    with pytest.raises(ManifestError, match=":2: split: missing here"):
        read_manifest(path)


def test_a_corpus_without_splits_gets_them_by_share_and_seed(tmp_path: Path) -> None:
    record = {key: value for key, value in RECORD.items() if key != "split"}
    lines = [json.dumps({**record, "id": f"clip{index}"}) for index in range(2000)]
    rows = read_manifest(write_lines(tmp_path, *lines))

    def splits(count: int, seed: int) -> list[str]:
        chosen = assign_splits(rows[:count], valid_fraction=0.1, test_fraction=0.2, seed=seed)
        return [row.split for row in chosen]

    first = splits(2000, seed=0)
    assert first.count("valid") == pytest.approx(200, abs=45)
    assert first.count("test") == pytest.approx(400, abs=60)
    assert splits(100, seed=0) == first[:100]
    assert splits(2000, seed=1) != first


def test_a_folder_without_a_manifest_says_what_was_looked_for(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="espeak, kokoro, ljspeech, libritts or a folder"):
        load_corpus(make_config(tmp_path / "absent"), tmp_path)


def test_audio_outside_the_manifests_folder_is_named_absolutely(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (row,) = read_manifest(write_lines(tmp_path, json.dumps(RECORD)))
    write_manifest(tmp_path / "corpus" / "manifest.jsonl", [row])
    assert read_manifest(tmp_path / "corpus" / "manifest.jsonl") == [row]


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


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "../../a"},
        {"id": "/tmp/a"},
        {"id": "a/"},
        {"id": "x" * 300},
        {"id": "a\0b"},
        {"id": "\ud800"},
        {"duration": 10**400},
    ],
)
def test_an_id_that_names_no_file_of_its_own_is_refused(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    record = {
        "id": "a",
        "audio": "a.wav",
        "duration": 1.0,
        "text": "",
        "speaker": "s",
        "lang": "en",
    }
    path = write_lines(tmp_path, json.dumps({**record, **wrong}))
    (name,) = wrong
    with pytest.raises(ManifestError, match=f":1: {name}: expected "):
        read_manifest(path)
    again = [json.dumps({**record, "id": name}) for name in ("stra\u00dfe", "STRASSE")]
    with pytest.raises(ManifestError, match=r":2: id: .* on line 1 already"):
        read_manifest(write_lines(tmp_path, *again))


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
    manifest = write_lines(tmp_path, json.dumps(RECORD | {"type": "MonoCut"}))
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
