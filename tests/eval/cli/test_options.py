"""Files of a folder of recordings."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from eval.cli.options import audio_files, folder_pairs, read_texts


def test_hidden_files_are_no_recordings(tmp_path: Path) -> None:
    for name in ("a/b.wav", "C.FLAC", "._c.flac", "a/._b.wav", ".x.0-1-2.partial/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(audio_files(tmp_path)) == ["C", "a/b"]


def test_names_meet_in_either_form_of_their_accents(tmp_path: Path) -> None:
    name = "caf\u00e9"
    other = unicodedata.normalize("NFD", name)
    for path in (tmp_path / "ref" / f"{name}.wav", tmp_path / "hyp" / f"{other}.wav"):
        path.parent.mkdir()
        path.touch()
    (tmp_path / "texts.jsonl").write_text(json.dumps({"id": other, "text": "coffee"}))
    (pair,) = folder_pairs(tmp_path / "ref", tmp_path / "hyp", read_texts(tmp_path / "texts.jsonl"))
    assert (pair.id, pair.estimate) == (name, tmp_path / "hyp" / f"{other}.wav")
    assert pair.text == "coffee"


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([{"id": "a", "text": 12}], ":1: expected an id and a text"),
        ([{"id": None, "text": "one"}], ":1: expected an id and a text"),
        ([{"id": "caf\u00e9", "text": "x"}, {"id": "cafe\u0301", "text": "y"}], ":2: .* once"),
    ],
)
def test_a_text_that_is_none_or_not_the_only_one_is_refused(
    tmp_path: Path, rows: list[dict[str, object]], match: str
) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match=match):
        read_texts(path)


def test_a_recording_without_a_transcript_has_no_text(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"id": "a", "text": null}\n{"id": 7, "text": "seven"}\n')
    assert read_texts(path) == {"7": "seven"}


def test_the_speaker_of_a_chapter_is_the_folder_above_it(tmp_path: Path) -> None:
    """Chapters counted as speakers in LibriSpeech and LibriTTS, which made intervals too narrow."""
    files = {
        "1089/134686/1089-134686-0000.flac": "1089",
        "1089/134691/1089_134691_000003_000001.wav": "1089",
        "audio/ls_84/ls_84-121123-0001.flac": "ls_84",
        "p225/p225_001.wav": "p225",
        "alone.wav": "",
    }
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pairs = folder_pairs(tmp_path, tmp_path, {})
    named = {str(Path(str(pair.reference)).relative_to(tmp_path)): pair.speaker for pair in pairs}
    assert named == files
