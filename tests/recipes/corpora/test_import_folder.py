"""A folder of recordings as a corpus: texts, tables, speakers, splits, and what is listed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes.corpora.import_folder import FolderSettings, folder_utterances, read_table
from recipes.corpora.importing import Note, Skip, Utterance
from recipes.corpora.manifest import CorpusRow, read_manifest
from recipes.corpora.recording_checks import SplitSettings, with_splits
from recipes.import_corpus import main

RATE = 16_000


@pytest.fixture
def tone(make_waveform: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """`tone(path, seconds=0.3, text=None)`: a recording of its own sound, and a text beside it."""
    count = iter(range(1000))

    def write(path: Path, seconds: float = 0.3, text: str | None = None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        number = next(count)
        wave = make_waveform(seconds, RATE, pitch=100 + 7 * number, seed=number)
        soundfile.write(path, wave, RATE)
        if text is not None:
            path.with_suffix(".txt").write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """`run(folder, *options)`: rows by id, skips and notes by kind, figures, the report."""

    def call(folder: Path, *options: str) -> dict[str, Any]:
        output = tmp_path / "out"
        assert main(["folder", str(folder), "-o", str(output), "--json", *options]) == 0
        lists = {
            name: [json.loads(x) for x in (output / f"{name}.jsonl").read_text().splitlines()]
            for name in ("skipped", "notes")
        }
        return {
            "rows": {row.id: row for row in read_manifest(output / "manifest.jsonl")},
            "figures": json.loads(capsys.readouterr().out),
            "report": (output / "report.md").read_text(),
            **{name: {each["id"]: each["kind"] for each in found} for name, found in lists.items()},
        }

    return call


def test_texts_beside_recordings_in_every_ending(
    tmp_path: Path, tone: Any, run: Callable[..., dict[str, Any]]
) -> None:
    folder = tmp_path / "mine"
    for index, ending in enumerate((".txt", ".lab", ".normalized.txt")):
        tone(folder / "anna" / f"{index}.wav")
        (folder / "anna" / f"{index}{ending}").write_text(f"\ufefftext {index}\n", "utf-8")
    tone(folder / "bert" / "3.flac")
    (folder / "bert" / "gone.txt").write_text("no sound")
    found = run(folder, "--lang", "en")
    assert [row.text for row in found["rows"].values()] == ["text 0", "text 1", "text 2", ""]
    assert {row.speaker for row in found["rows"].values()} == {"anna", "bert"}
    assert found["rows"]["anna/0"].duration == pytest.approx(0.3)
    assert found["notes"] == {"bert/3": "no_text"}
    assert found["skipped"] == {"bert/gone.txt": "no_recording"}
    assert found["figures"]["noted"] == {"no_text": 1}
    assert set(found["figures"]["splits"]) == {"train", "valid", "test"}
    assert "### no_recording: 1" in found["report"]


def test_recordings_without_any_text_are_a_corpus_of_one_speaker(
    tmp_path: Path, tone: Any, run: Callable[..., dict[str, Any]]
) -> None:
    for index in range(4):
        tone(tmp_path / "mine" / f"{index}.wav")
    found = run(tmp_path / "mine")
    assert {(row.speaker, row.text) for row in found["rows"].values()} == {("mine", "")}
    assert found["skipped"] == found["notes"] == {}
    assert "No problems." in found["report"]


def test_unusable_recordings_are_listed_by_kind(
    tmp_path: Path, tone: Any, run: Callable[..., dict[str, Any]]
) -> None:
    folder = tmp_path / "mine"
    for index in range(3):
        tone(folder / f"{index}.wav")
    (folder / "9copy.wav").write_bytes((folder / "0.wav").read_bytes())
    tone(folder / "short.wav", seconds=0.05)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    (folder / "broken.wav").write_bytes(b"RIFF nothing")
    found = run(folder)
    assert list(found["rows"]) == ["0", "1", "2"]
    assert found["skipped"] == {
        "9copy": "duplicate",
        "short": "short",
        "silent": "silent",
        "broken": "audio",
    }


def test_a_table_as_ljspeech_has(
    tmp_path: Path, tone: Any, run: Callable[..., dict[str, Any]]
) -> None:
    folder = tmp_path / "lj"
    for index in range(4):
        tone(folder / "wavs" / f"LJ-{index}.wav")
    lines = ['LJ-0|Mr. "X"|mister "x"', "LJ-1|two|two", "LJ-2|three|", "LJ-9|gone|gone"]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    found = run(folder)
    texts = {row.id: row.text for row in found["rows"].values()}
    assert texts == {"wavs/LJ-0": 'mister "x"', "wavs/LJ-1": "two", "wavs/LJ-2": "three"}
    assert found["skipped"] == {"LJ-9": "no_recording", "wavs/LJ-3": "no_text"}


@pytest.mark.parametrize("sign", [",", "\t", ";"])
def test_a_table_with_named_columns(
    tmp_path: Path, tone: Any, run: Callable[..., dict[str, Any]], sign: str
) -> None:
    folder = tmp_path / "cv"
    rows = [("path", "sentence", "who", "locale", "split")]
    for index, split in enumerate(("train", "dev", "test")):
        tone(folder / "clips" / f"{index}.wav")
        rows.append((f"{index}.wav", f"text {index}", f"s{index}", "de", split))
    table = folder / "train.csv"
    table.write_text("".join(sign.join(row) + "\n" for row in rows))
    options = ["--table", str(table), "--columns", "audio=path", "speaker=who"]
    found = run(folder, *options)
    row = found["rows"]["clips/1"]
    assert (row.text, row.speaker, row.lang, row.split) == ("text 1", "s1", "de", "valid")


def test_a_quoted_comma_belongs_to_a_text_and_a_tsv_has_no_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('file,text\na.wav,"one, two"\n')
    (tmp_path / "a.tsv").write_text('file\ttext\na.wav\t"one, two\n')
    assert read_table(tmp_path / "a.csv", {})[0]["text"] == "one, two"
    assert read_table(tmp_path / "a.tsv", {})[0]["text"] == '"one, two'


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("a,b\n1,2\n", {}, "--columns audio=NAME"),
        ("file,b\n1,2\n", {"text": "c"}, "expected one column 'c' for text"),
        ("file,b\n1\n", {}, "a.csv:2: expected 2 values, got 1"),
        ("x|a|b|c\n", {}, r"a.csv:1: expected name\|text"),
        # A quotation mark alone would take the rows after it into its text.
        ('file,text\na.wav,"Hi\nb.wav,yes\n', {}, "a.csv: expected a table"),
        ('file,text\na.wav,"Hi" he said\n', {}, "a.csv: expected a table"),
        ("file,text,text\na.wav,x,y\n", {}, "expected one column 'text'"),
        ("file,x,x\na.wav,x,y\n", {"text": "x"}, "expected one column 'x' for text"),
        ("", {}, "expected a line for every recording"),
    ],
)
def test_a_wrong_table_is_refused_by_name(
    tmp_path: Path, text: str, columns: dict[str, str], message: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / "a.csv", columns)


def test_names_that_several_recordings_have_are_not_guessed(tmp_path: Path, tone: Any) -> None:
    for folder in ("x", "y"):
        tone(tmp_path / folder / "a.wav")
    (tmp_path / "metadata.csv").write_text("a|one\nx/a.wav|two\n")
    found = list(folder_utterances(tmp_path))
    assert [each.text for each in found if isinstance(each, Utterance)] == ["two"]
    skips = [each.kind for each in found if isinstance(each, Skip) and not isinstance(each, Note)]
    assert skips == ["no_recording", "no_text"]


@pytest.mark.parametrize(
    ("speaker", "expected"), [("me", {"me"}), ("folder", {"a", "b"}), (None, {"a", "b"})]
)
def test_the_speaker_is_given_or_the_folder(
    tmp_path: Path, tone: Any, speaker: str | None, expected: set[str]
) -> None:
    for folder in ("a", "b"):
        tone(tmp_path / folder / "x.wav")
    found = folder_utterances(tmp_path, FolderSettings(speaker=speaker))
    assert {each.speaker for each in found if isinstance(each, Utterance)} == expected


def test_wrong_columns_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--columns: expected some of audio.*\['sound'\]"):
        FolderSettings(columns={"sound": "x"})
    with pytest.raises(ValueError, match="expected recordings"):
        list(folder_utterances(tmp_path))
    arguments = ["folder", str(tmp_path), "-o", str(tmp_path / "o"), "--columns", "text"]
    assert main(arguments) == 2


def rows_of(*speakers: str) -> list[CorpusRow]:
    return [
        CorpusRow(f"c{number}", Path("x"), 1.0, "", speaker, "en", "")
        for number, speaker in enumerate(speakers)
    ]


def test_splits_by_speaker_share_no_speaker_and_follow_the_seed() -> None:
    rows = rows_of(*(f"s{number // 5}" for number in range(100)))
    settings = SplitSettings("speakers", valid=0.1, test=0.1, seed=1)
    found = with_splits(rows, settings)
    speakers = {
        split: {row.speaker for row in found if row.split == split}
        for split in ("train", "valid", "test")
    }
    assert [len(each) for each in speakers.values()] == [16, 2, 2]
    assert len(set().union(*speakers.values())) == 20
    assert found == with_splits(list(reversed(rows)), settings)[::-1]
    assert found != with_splits(rows, SplitSettings("speakers", valid=0.1, test=0.1, seed=2))


def test_a_small_corpus_gets_a_clip_of_every_split() -> None:
    found = with_splits(rows_of("s", "s", "s"), SplitSettings())
    assert sorted(row.split for row in found) == ["test", "train", "valid"]
    with pytest.raises(ValueError, match=r"at least 3 clips, got 2; --split none"):
        with_splits(rows_of("s", "s"), SplitSettings())
    with pytest.raises(ValueError, match=r"at least 3 speakers, got 1; --split clips"):
        with_splits(rows_of("s", "s", "s"), SplitSettings("speakers"))


def test_a_manifest_without_durations_is_measured(tmp_path: Path, tone: Any) -> None:
    tone(tmp_path / "a.wav", seconds=0.5)
    (tmp_path / "b.wav").write_bytes(b"broken")
    about = {"text": "", "speaker": "s", "lang": "en"}
    rows: list[dict[str, Any]]
    rows = [{"id": name, "audio": f"{name}.wav", **about} for name in ("a", "b")]
    rows.append({"id": "c", "audio": "a.wav", "duration": 7.0, **about})
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_manifest(tmp_path / "manifest.jsonl")
    assert [row.duration for row in found] == pytest.approx([0.5, 0.0, 7.0])


def test_a_split_that_no_run_knows_is_refused(
    tmp_path: Path, tone: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "in" / "a.wav")
    (tmp_path / "in" / "metadata.csv").write_text("file,text,split\na.wav,one,held_out\n")
    assert main(["folder", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    assert "expected the splits train, valid, test, got held_out" in capsys.readouterr().err


def test_a_table_whose_link_leads_nowhere_is_an_error(
    tmp_path: Path, tone: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "in" / "a.wav", text="beside")
    (tmp_path / "in" / "metadata.csv").symlink_to(tmp_path / "gone.csv")
    assert main(["folder", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    assert "metadata.csv: expected a table" in capsys.readouterr().err


def test_a_table_that_is_not_there_is_told_as_such(
    tmp_path: Path, tone: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "in" / "a.wav")
    call = ["folder", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main([*call, "--table", str(tmp_path / "gone.csv")]) == 2
    assert f"--table: expected a file at {tmp_path / 'gone.csv'}, found" in capsys.readouterr().err
