"""Kaldi folders: whole recordings, segments, and what is cut again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.audio import read_audio
from recipes.import_corpus import main
from tests.recipes.corpora.kaldi import write_kaldi


def test_kaldi_whole_recordings(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    one = write_tone(tmp_path / "one.wav")
    write_tone(tmp_path / "kaldi" / "two.flac")
    folder = write_kaldi(
        tmp_path / "kaldi",
        wav=f"utt1 {one}\nutt2 flac -c -d -s two.flac |\nutt3 sph2pipe -f wav x.sph |\n",
        text="utt1 hello there\nutt2 good bye\n",
        utt2spk="utt1 anna\nutt2 bert\n",
        spk2gender="anna f\n",
    )
    rows, skipped, _ = run_import("kaldi", folder, "--lang", "en")
    assert [(row.id, row.text, row.speaker, row.lang) for row in rows] == [
        ("utt1", "hello there", "anna", "en"),
        ("utt2", "good bye", "bert", "en"),
    ]
    assert rows[0].extra == {"source": "kaldi", "gender": "f"}
    assert rows[1].audio == folder / "two.flac"
    assert "commands are not run" in skipped[0]["reason"]


@pytest.mark.parametrize("name", ["segments", "text", "utt2spk", "reco2file_and_channel"])
def test_a_kaldi_table_whose_link_leads_nowhere_is_an_error(
    tmp_path: Path, write_tone: Any, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    write_tone(tmp_path / "kaldi" / "one.wav")
    folder = write_kaldi(tmp_path / "kaldi", wav="one one.wav\n")
    (folder / name).symlink_to(tmp_path / "gone")
    assert main(["kaldi", str(folder), "-o", str(tmp_path / "out")]) == 1
    assert f"kaldi/{name}" in capsys.readouterr().err
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_kaldi_texts_without_a_recording_are_listed(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    write_tone(tmp_path / "kaldi" / "one.wav")
    tables = {"wav": "one one.wav\n", "text": "one hello\nghost never said\n"}
    folder = write_kaldi(tmp_path / "kaldi", **tables)
    rows, skipped, _ = run_import("kaldi", folder)
    assert [row.id for row in rows] == ["one"]
    assert [(each["id"], each["kind"]) for each in skipped] == [("ghost", "no_recording")]
    # A field too many is no channel, and neither is a number below -1, which leaves it open.
    for wrong in ("0 1", "-2", "one", "0.0"):
        segments = f"u one 0 0.2 {wrong}\nw one 0 0.2 -1\n"
        write_kaldi(folder, text="u hello\nw again\n", segments=segments)
        rows, skipped, _ = run_import("kaldi", folder)
        assert ([row.id for row in rows], [each["id"] for each in skipped]) == (["w"], ["u"])
        assert f"0 0.2 {wrong}" in skipped[0]["reason"]


def test_kaldi_segments_are_cut_once(tmp_path: Path, write_tone: Any, run_import: Any) -> None:
    long = write_tone(tmp_path / "kaldi" / "long.wav", 3.0)
    folder = write_kaldi(
        tmp_path / "kaldi",
        wav="rec long.wav\n",
        segments="a rec 0.5 1.25\nb rec 2.0 -1\nc rec 2.5 9.0\nd other 0 1\n",
        text="a one\nb two\nc three\nd four\n",
        utt2lang="a de\n",
    )
    rows, skipped, _ = run_import("kaldi", folder)
    assert [(row.id, row.duration, row.speaker, row.lang) for row in rows] == [
        ("a", 0.75, "a", "de"),
        ("b", 1.0, "b", "und"),
    ]
    expected = read_audio(long, 16_000, start=0.5, duration=0.75)
    np.testing.assert_allclose(read_audio(rows[0].audio, 16_000), expected, atol=1e-4)
    assert sorted(skip["id"] for skip in skipped) == ["c", "d"]
    written = rows[0].audio.stat().st_mtime_ns
    assert run_import("kaldi", folder)[0] == rows
    assert rows[0].audio.stat().st_mtime_ns == written


@pytest.mark.parametrize("corrected", ["times", "recording"])
def test_a_part_is_cut_again_after_a_correction(
    tmp_path: Path, write_tone: Any, run_import: Any, corrected: str
) -> None:
    long = write_tone(tmp_path / "kaldi" / "long.wav", 3.0)
    tables = {"wav": "rec long.wav\n", "text": "a one\nb two\n", "utt2lang": "a de\nb de\n"}
    folder = write_kaldi(tmp_path / "kaldi", segments="a rec 0.5 1.25\nb rec 2 3\n", **tables)
    rows, _, _ = run_import("kaldi", folder)
    other = rows[1].audio.stat().st_ino
    start = 0.5
    if corrected == "times":
        start = 1.5
        write_kaldi(folder, segments="a rec 1.5 2.25\nb rec 2 3\n")
    else:
        write_tone(long, 3.0, pitch=240.0)
    rows, _, _ = run_import("kaldi", folder)
    expected = read_audio(long, 16_000, start=start, duration=0.75)
    np.testing.assert_allclose(read_audio(rows[0].audio, 16_000), expected, atol=1e-4)
    assert (rows[1].audio.stat().st_ino == other) == (corrected == "times")


def test_a_part_of_a_run_killed_before_it_was_noted_is_cut_again(
    tmp_path: Path, write_tone: Any, run_import: Any
) -> None:
    write_tone(tmp_path / "kaldi" / "long.wav", 3.0)
    tables = {"wav": "rec long.wav\n", "text": "a one\n", "utt2lang": "a de\n"}
    folder = write_kaldi(tmp_path / "kaldi", segments="a rec 0.5 1.25\n", **tables)
    rows, _, _ = run_import("kaldi", folder)
    log = tmp_path / "imported" / ".cut.jsonl"
    log.write_bytes(log.read_bytes()[:-9])  # as the kill leaves it
    written = rows[0].audio.stat().st_ino
    assert run_import("kaldi", folder)[0] == rows
    assert rows[0].audio.stat().st_ino != written
