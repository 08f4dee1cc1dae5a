"""Alignments of a split: every clip aligned or listed, alone, beside others and after a cut."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from codec.audio.store import AudioStore, AudioStoreWriter
from codec.files.json_lines import read_json_lines
from codec.runtime.workers import DEADLY
from recipes.corpora.aligned_splits import align_split, alignments_of
from recipes.corpora.forced_alignment import Aligner
from slm.data.alignment import Unit
from tests.support.builders import SPOKEN

pytest.importorskip("pocketsphinx")
pytest.importorskip("espeakng_loader")
RATE = 22_050


@pytest.fixture
def clips(tmp_path: Path, waveform: np.ndarray) -> AudioStore:
    """Two clips to be aligned, one of them hopeless, one without text and one in German."""
    folder = tmp_path / "train"
    with AudioStoreWriter(folder, RATE) as writer:
        for name, text, lang in (
            ("good", SPOKEN, "en"), ("hopeless", SPOKEN * 20, "en"), ("silent", "", "en"),
            ("german", "Der alte Mann", "de"),
        ):  # fmt: skip
            writer.add(waveform.astype(np.float32), {"id": name, "text": text, "lang": lang})
    return AudioStore(folder)


def test_every_clip_of_the_language_is_aligned_or_listed(
    clips: AudioStore, aligner: Aligner, tmp_path: Path
) -> None:
    figures = align_split(clips, tmp_path, aligner, ["en"])
    assert figures == {"aligned": 1, "failed": 1, "without": 2}
    assert list(alignments_of(tmp_path, "train")) == ["good"]
    lines = (tmp_path / "train.unaligned.jsonl").read_text().splitlines()
    listed = [json.loads(line) for line in lines]
    assert [row["id"] for row in listed] == ["hopeless"]
    (row,) = map(json.loads, (tmp_path / "train.alignment.jsonl").read_text().splitlines())
    assert 0.5 < row["score"] <= 1.0
    assert listed[0]["reason"]


def test_worker_processes_change_no_result(
    clips: AudioStore, aligner: Aligner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.runtime.workers.IN_FLIGHT", 2)
    (tmp_path / "alone").mkdir()
    (tmp_path / "beside").mkdir()
    alone = align_split(clips, tmp_path / "alone", aligner, ["en"])
    assert align_split(clips, tmp_path / "beside", aligner, ["en"], workers=1) == alone
    for name in ("train.alignment.jsonl", "train.unaligned.jsonl"):
        assert (tmp_path / "beside" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_run_that_was_cut_off_keeps_what_it_has(
    clips: AudioStore, aligner: Aligner, tmp_path: Path
) -> None:
    align_split(clips, tmp_path, aligner, ["en"])
    whole = (tmp_path / "train.alignment.jsonl").read_bytes()
    units = alignments_of(tmp_path, "train")["good"]
    (tmp_path / "train.alignment.jsonl").unlink()
    changed = [*units[:-1], units[-1]._replace(unit=7)]
    kept = json.dumps({"id": "good", "units": changed, "reason": ""})
    (tmp_path / ".train.aligning.jsonl").write_text(f'{kept}\n{{"id": "hopeless", "uni')
    align_split(clips, tmp_path, aligner, ["en"])
    assert alignments_of(tmp_path, "train")["good"][-1].unit == 7  # not aligned again
    assert not (tmp_path / ".train.aligning.jsonl").exists()
    assert whole != (tmp_path / "train.alignment.jsonl").read_bytes()


DEADLY_ALIGNER = '''
import os
from slm.data.alignment import Unit

class DeadlyAligner:
    """Ends its process at some texts."""

    def align(self, waveform, sample_rate, text):
        if "deadly" in text:
            os._exit(9)
        return [Unit(3, 0.0, 0.5)], 0.75
'''


def test_a_clip_that_ends_its_workers_is_listed_and_costs_no_other(
    tmp_path: Path, waveform: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codec.runtime.workers.IN_FLIGHT", 2)
    (tmp_path / "deadly_aligner.py").write_text(DEADLY_ALIGNER)
    monkeypatch.syspath_prepend(tmp_path)
    with AudioStoreWriter(tmp_path / "train", RATE) as writer:
        for name, text in (("a", "one"), ("b", "a deadly one"), ("c", "two")):
            writer.add(waveform.astype(np.float32), {"id": name, "text": text, "lang": "en"})
    aligner = importlib.import_module("deadly_aligner").DeadlyAligner()
    folder = tmp_path / "made"
    figures = align_split(AudioStore(tmp_path / "train"), folder, aligner, ["en"], workers=1)
    assert figures == {"aligned": 2, "failed": 1, "without": 0}
    assert alignments_of(folder, "train") == {"a": [Unit(3, 0.0, 0.5)], "c": [Unit(3, 0.0, 0.5)]}
    assert read_json_lines(folder / "train.unaligned.jsonl") == [{"id": "b", "reason": DEADLY}]
