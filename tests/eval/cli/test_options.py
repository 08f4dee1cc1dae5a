"""Files of a folder of recordings."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

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
