"""Kaldi folders."""

from __future__ import annotations

from pathlib import Path


def write_kaldi(folder: Path, **tables: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (folder / name.replace("wav", "wav.scp")).write_text(text)
    return folder
