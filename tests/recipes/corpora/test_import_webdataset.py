"""WebDataset tars, Emilia's among them, read where they lie."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from codec.audio import read_audio
from recipes.corpora.manifest import read_manifest
from tests.support.tars import write_tar


@pytest.fixture
def emilia(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    """Two tars of three clips; of the second one clip has no .json and one no speaker."""
    file = io.BytesIO()
    soundfile.write(file, make_waveform(0.5), 24_000, format="MP3")
    root = tmp_path / "Emilia"
    for tar in range(2):
        members = {}
        for index in range(3):
            key = f"DE_B0000{tar}_S00000_W00000{index}"
            about = {
                "id": key,
                "wav": f"DE_B0000{tar}/{key}.mp3",
                "text": f" Satz {index}.",
                "duration": 0.5,
                "speaker": f"DE_B0000{tar}_S00000",
                "language": "de",
                "dnsmos": 3.37,
            }
            if tar and index == 1:
                del about["speaker"]
            members[f"{key}.mp3"] = file.getvalue()
            if not (tar and index == 2):
                members[f"{key}.json"] = json.dumps(about).encode()
        write_tar(root / "DE" / f"DE-B00000{tar}.tar", members)
    return root


def test_emilia_is_read_where_its_tars_lie(emilia: Path, tmp_path: Path, run_import: Any) -> None:
    rows, skipped, _ = run_import("emilia", emilia)
    assert len(rows) == 4
    assert (rows[0].text, rows[0].lang, rows[0].extra["dnsmos"]) == ("Satz 0.", "de", 3.37)
    assert rows[0].extra["source"] == "emilia"
    assert len(read_audio(rows[0].audio)) == pytest.approx(12_000, abs=1300)
    record = json.loads((tmp_path / "imported/manifest.jsonl").read_text().splitlines()[0])
    tar = emilia / "DE/DE-B000000.tar"
    assert record["audio"] == f"{tar}:0:DE_B00000_S00000_W000000.mp3"
    assert sorted("lacks speaker" in skip["reason"] for skip in skipped) == [False, True]
    assert not (tmp_path / "imported/audio").exists()


def test_a_manifest_above_its_tars_can_be_moved_with_them(
    emilia: Path, tmp_path: Path, run_import: Any
) -> None:
    output = tmp_path / "imported"
    emilia.rename(output)
    assert len(run_import("webdataset", output)[0]) == 5
    output.rename(tmp_path / "moved")
    row = read_manifest(tmp_path / "moved/manifest.jsonl")[0]
    assert len(read_audio(row.audio)) == pytest.approx(12_000, abs=1300)


def test_a_tar_that_has_not_changed_is_not_looked_through_again(
    emilia: Path, tmp_path: Path, run_import: Any
) -> None:
    first, second = (emilia / "DE" / f"DE-B00000{number}.tar" for number in range(2))
    whole = second.read_bytes()
    second.write_bytes(whole[:30_00])
    rows, skipped, _ = run_import("emilia", emilia)
    assert (len(rows), [skip["kind"] for skip in skipped]) == (3, ["tar"])
    (index,) = (tmp_path / "imported/.tars").iterdir()
    made = index.stat().st_ino
    second.write_bytes(whole)
    assert len(run_import("emilia", emilia)[0]) == 4
    assert index.stat().st_ino == made
    first.write_bytes(whole)
    rows, skipped, _ = run_import("emilia", emilia)
    assert not any("B00000_" in row.id for row in rows)
    assert {skip["kind"] for skip in skipped} == {"layout", "repeated"}


def test_emilia_is_looked_through_no_further_than_the_limit_needs(
    emilia: Path, tmp_path: Path, run_import: Any
) -> None:
    assert len(run_import("emilia", emilia, "--limit", "2")[0]) == 2
    assert len(list((tmp_path / "imported/.tars").iterdir())) == 1


def test_a_tar_needs_no_more_than_recordings_and_their_json(
    tmp_path: Path, run_import: Any, make_waveform: Any
) -> None:
    file = io.BytesIO()
    soundfile.write(file, make_waveform(0.2), 24_000, format="FLAC")
    for shard in ("en-0", "en-1", "de-0"):
        members = {"x/0.flac": file.getvalue(), "x/0.json": b'{"snr": 20, "words": ["a"]}'}
        write_tar(tmp_path / f"tars/sub/{shard}.tar", members)
    pattern = tmp_path / "tars/*/en-?.tar"
    rows, skipped, _ = run_import("webdataset", pattern, "--lang", "en", "--workers", "2")
    found = [(row.id, row.speaker, row.text, row.lang, row.extra) for row in rows]
    assert found == [
        (f"sub/en-{n}/x/0", f"sub/en-{n}/x/0", "", "en", {"source": "tars", "snr": 20})
        for n in range(2)
    ]
    assert skipped == []


def test_a_tar_of_another_ending_is_listed(emilia: Path, run_import: Any) -> None:
    tar = emilia / "DE/DE-B000000.tar"
    tar.rename(tar.with_suffix(".tgz"))
    _, skipped, _ = run_import("emilia", emilia)
    reasons = [skip["reason"] for skip in skipped if skip["kind"] == "tar"]
    assert len(reasons) == 1
    assert reasons[0].endswith(".tgz: expected a name that ends in .tar")
