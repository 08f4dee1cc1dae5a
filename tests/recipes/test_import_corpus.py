"""Every layout in miniature, with real recordings, through the command that imports it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.audio import read_audio
from recipes.corpora.import_librilight import speech_pieces
from recipes.corpora.manifest import CorpusRow, read_manifest
from recipes.import_corpus import main
from tests.recipes.corpora.kaldi import write_kaldi
from tests.support.refusing_disks import full_disk, needs_limits, read_only


def by_id(rows: list[CorpusRow]) -> dict[str, CorpusRow]:
    return {row.id: row for row in rows}


def test_libritts(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    root = tmp_path / "corpora" / "LibriTTS"
    for subset in ("train-clean-100", "dev-clean"):
        for index in range(2):
            clip = write_tone(root / subset / "84" / "121" / f"84_121_{subset}_{index}.wav")
            clip.with_suffix(".original.txt").write_text(f"Mr. {index}!\n")
            clip.with_suffix(".normalized.txt").write_text(f"Mister {index}!\n")
    (root / "dev-clean/84/121/84_121_dev-clean_1.original.txt").unlink()
    rows, skipped, figures = run_import("libritts", tmp_path / "corpora")
    assert [row.split for row in rows] == ["valid", "train", "train"]
    assert rows[1].text == "Mr. 0!"
    assert rows[1].extra == {"source": "libritts_train-clean-100", "text_norm": "Mister 0!"}
    assert rows[1].audio == root / "train-clean-100/84/121/84_121_train-clean-100_0.wav"
    assert [(skip["id"], skip["kind"]) for skip in skipped] == [
        ("84_121_dev-clean_1", "transcript")
    ]
    assert figures["skipped"] == {"transcript": 1}
    assert figures["splits"] == {"train": 2, "valid": 1}


def test_ljspeech_lists_a_recording_that_is_missing(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    root = tmp_path / "LJSpeech-1.1"
    for index in range(2):
        write_tone(root / "wavs" / f"LJ001-000{index}.wav", 0.3, 22_050)
    lines = [f"LJ001-000{index}|In {index}|In number\n" for index in range(3)]
    (root / "metadata.csv").write_text("".join(lines))
    rows, skipped, figures = run_import("ljspeech", root)
    assert [(row.id, row.text, row.split) for row in rows] == [
        ("LJ001-0000", "In 0", ""),
        ("LJ001-0001", "In 1", ""),
    ]
    assert rows[0].duration == pytest.approx(0.3)
    assert [(skip["id"], skip["kind"]) for skip in skipped] == [("LJ001-0002", "audio")]
    assert figures["splits"] == {"none": 2}


def test_librispeech_through_lhotse(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    pytest.importorskip("lhotse")
    root = tmp_path / "LibriSpeech"
    for subset, speaker in (("train-clean-100", "19"), ("test-clean", "61")):
        chapter = root / subset / speaker / "198"
        for index in range(3):
            write_tone(chapter / f"{speaker}-198-000{index}.flac")
        # The third recording has no transcript, the last transcript no recording.
        lines = [f"{speaker}-198-000{index} THIS IS {index}\n" for index in (0, 1, 9)]
        (chapter / f"{speaker}-198.trans.txt").write_text("".join(lines))
    rows, skipped, figures = run_import("librispeech", tmp_path)
    assert sorted((row.id, row.split, row.text, row.speaker, row.lang) for row in rows) == [
        ("19-198-0000", "train", "THIS IS 0", "19", "en"),
        ("19-198-0001", "train", "THIS IS 1", "19", "en"),
        ("61-198-0000", "test", "THIS IS 0", "61", "en"),
        ("61-198-0001", "test", "THIS IS 1", "61", "en"),
    ]
    assert by_id(rows)["61-198-0000"].extra["source"] == "librispeech_test-clean"
    assert figures["skipped"] == {"lhotse": 2, "transcript": 2}
    assert {skip["id"] for skip in skipped} == {"", "19-198-0002", "61-198-0002"}


def test_vctk_through_lhotse(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    pytest.importorskip("lhotse")
    root = tmp_path / "VCTK"
    for speaker in ("p225", "p226"):
        for number in ("001", "002"):
            for microphone in ("mic1", "mic2"):
                name = f"{speaker}_{number}_{microphone}.flac"
                write_tone(root / "wav48_silence_trimmed" / speaker / name, rate=48_000)
            if (speaker, number) != ("p226", "002"):
                text = root / "txt" / speaker / f"{speaker}_{number}.txt"
                text.parent.mkdir(parents=True, exist_ok=True)
                text.write_text(f"Please call {speaker} {number}.\n")
    (root / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        "p225  23  F    English    Southern  England\np226  22  M    English    Surrey\n"
    )
    rows, skipped, _ = run_import("vctk", root)
    assert sorted(row.id for row in rows) == ["p225_001_mic2", "p225_002_mic2", "p226_001_mic2"]
    row = by_id(rows)["p225_001_mic2"]
    assert (row.text, row.speaker, row.lang) == ("Please call p225 001.", "p225", "en")
    assert (row.extra["gender"], row.extra["region"]) == ("F", "Southern England")
    assert row.duration == pytest.approx(0.2)
    assert [skip["id"] for skip in skipped] == ["p226_002_mic2"]


def test_librilight_is_cut_at_pauses(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    book = tmp_path / "small" / "100" / "sea_fairies_0812_librivox_64kb_mp3"
    chapter = write_tone(book / "01_baum.flac", 6.0)
    spans = [[0.2, 1.4], [1.6, 2.8], [4.5, 5.6], [5.7, 5.9]]
    about = {"speaker": "100", "snr": 11.5, "voice_activity": spans, "book_meta": {"id": 1}}
    chapter.with_suffix(".json").write_text(json.dumps(about))
    write_tone(book / "02_baum.flac")
    rows, skipped, _ = run_import("librilight", tmp_path, "--longest", "2.7")
    prefix = "small/100/sea_fairies_0812_librivox_64kb_mp3/01_baum"
    assert [(row.id, row.duration) for row in rows] == [
        (f"{prefix}_0000", pytest.approx(2.6)),
        (f"{prefix}_0001", pytest.approx(1.4)),
    ]
    assert (rows[0].speaker, rows[0].text, rows[0].extra["snr"]) == ("100", "", 11.5)
    expected = read_audio(chapter, 16_000, start=0.2, duration=2.6)
    np.testing.assert_allclose(read_audio(rows[0].audio, 16_000), expected, atol=1e-4)
    assert [skip["id"].rpartition("/")[2] for skip in skipped] == ["02_baum"]


def test_pieces_join_what_fits_and_divide_what_does_not() -> None:
    spans = [(0.0, 4.0), (4.5, 9.0), (9.2, 12.0), (20.0, 45.0)]
    assert speech_pieces(spans, 10.0) == [
        (0.0, 9.0),
        (9.2, 12.0),
        (20.0, pytest.approx(28.3333, abs=1e-3)),
        (pytest.approx(28.3333, abs=1e-3), pytest.approx(36.6667, abs=1e-3)),
        (pytest.approx(36.6667, abs=1e-3), 45.0),
    ]


def test_lhotse_cuts(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    lhotse = pytest.importorskip("lhotse")
    path = write_tone(tmp_path / "long.wav", 2.0)
    recording = lhotse.Recording.from_file(path, recording_id="long")
    said = [
        lhotse.SupervisionSegment("first", "long", 0.25, 0.5, text="one", speaker="anna"),
        lhotse.SupervisionSegment(
            "second", "long", 1.0, 0.75, text="two", speaker="bert", language="German"
        ),
    ]
    cut = recording.to_cut()
    cut.supervisions = said
    parts = lhotse.CutSet.from_cuts([cut]).trim_to_supervisions()
    whole = lhotse.CutSet.from_cuts([recording.to_cut().with_id("whole")])
    fast = lhotse.CutSet.from_cuts([recording.to_cut().perturb_speed(1.1).with_id("fast")])
    cuts = list(parts) + list(whole) + list(fast) + [cut.with_id("both")]
    lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    rows, skipped, _ = run_import("lhotse", tmp_path / "cuts.jsonl.gz")
    found = [(row.text, row.speaker, row.lang, row.duration) for row in rows]
    assert found == [
        ("one", "anna", "und", 0.5),
        ("two", "bert", "de", 0.75),
        ("", "whole", "und", 2.0),
    ]
    assert rows[2].audio == path
    expected = read_audio(path, 16_000, start=1.0, duration=0.75)
    np.testing.assert_allclose(read_audio(rows[1].audio, 16_000), expected, atol=1e-4)
    assert sorted(skip["id"] for skip in skipped) == ["both", "fast"]


def test_a_limit_is_spread_over_the_corpus(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    lines = [f"u{index} {write_tone(tmp_path / f'{index}.wav')}\n" for index in range(9)]
    folder = write_kaldi(tmp_path / "kaldi", wav="".join(lines))
    rows, _, _ = run_import("kaldi", folder, "--limit", "3")
    assert [row.id for row in rows] == ["u0", "u3", "u6"]


def test_a_repeated_id_is_listed(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    root = tmp_path / "LibriTTS"
    for chapter in ("1", "2"):
        clip = write_tone(root / "dev-clean" / "84" / chapter / "same.wav")
        for kind in ("original", "normalized"):
            clip.with_suffix(f".{kind}.txt").write_text("text")
    rows, skipped, _ = run_import("libritts", root)
    assert (len(rows), [skip["kind"] for skip in skipped]) == (1, ["repeated"])


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["libritts", "."], "expected some of dev-clean"),
        (["ljspeech", "."], "metadata.csv: not found"),
        (["librilight", "."], "expected <subset>/<speaker>/<book>"),
        (["emilia", "."], "expected WebDataset tars"),
        (["webdataset", "absent/*.tar"], "expected WebDataset tars"),
        (["kaldi", "."], "with wav.scp, found none"),
        (["kaldi", "absent"], "expected the corpus there, found nothing"),
        (["emilia", ".", "--download"], "--download: expected one of libritts"),
        (["lhotse", "."], "expected a CutSet file"),
    ],
)
def test_a_layout_that_is_not_there_says_what_was_expected(
    arguments: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "-o", "imported"]) == 2
    assert part in capsys.readouterr().err


def test_a_corpus_of_nothing_usable_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_kaldi(tmp_path / "kaldi", wav="a nowhere.wav\n")
    assert main(["kaldi", str(folder), "-o", str(tmp_path / "imported")]) == 2
    assert "found none that can be used and 1 that cannot" in capsys.readouterr().err


def test_vctk_lists_what_the_second_microphone_lacks(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    pytest.importorskip("lhotse")
    root = tmp_path / "VCTK"
    for name in ("p225_001_mic1", "p225_001_mic2", "p280_001_mic1", "p315_001_mic1"):
        speaker = name[:4]
        write_tone(root / "wav48_silence_trimmed" / speaker / f"{name}.flac", rate=48_000)
        if speaker != "p315":
            (root / "txt" / speaker).mkdir(parents=True, exist_ok=True)
            (root / "txt" / speaker / f"{speaker}_001.txt").write_text("Please call.\n")
    (root / "speaker-info.txt").write_text(
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        "p225  23  F    English    Southern  England\np280  23  F    Unknown    France\n"
    )
    rows, skipped, _ = run_import("vctk", root)
    assert [row.id for row in rows] == ["p225_001_mic2"]
    assert [(skip["id"], skip["kind"]) for skip in skipped] == [
        ("p280_001_mic2", "microphone"),
        ("p315_001_mic2", "microphone"),
    ]


@needs_limits
@pytest.mark.parametrize("refused", ["full", "read-only"])
def test_a_disk_that_refuses_leaves_no_manifest(
    refused: str, tmp_path: Path, write_tone: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """And once there is room the same command makes it."""
    for number in range(3):
        path = write_tone(tmp_path / "corpus" / f"{number}.wav", pitch=100 + 20 * number)
        path.with_suffix(".txt").write_text("a text of some words", encoding="utf-8")
    output = tmp_path / "imported"
    output.mkdir()
    command = ["folder", str(tmp_path / "corpus"), "-o", str(output), "--lang", "en"]
    with full_disk(100) if refused == "full" else read_only(output):
        status = main(command)
    told = capsys.readouterr().err
    assert status == 1, told
    assert ("too large" if refused == "full" else "Permission denied") in told
    assert "Traceback" not in told
    assert not (output / "manifest.jsonl").exists()
    assert main(command) == 0
    assert len(read_manifest(output / "manifest.jsonl")) == 3
