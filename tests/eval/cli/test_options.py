"""Files of a folder of recordings."""

from __future__ import annotations

from pathlib import Path

from eval.cli.options import audio_files


def test_hidden_files_are_no_recordings(tmp_path: Path) -> None:
    for name in ("a/b.wav", "C.FLAC", "._c.flac", "a/._b.wav", ".x.0-1-2.partial/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(audio_files(tmp_path)) == ["C", "a/b"]
