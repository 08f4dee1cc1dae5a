"""The page of recordings: which clips it takes, and what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codec.audio import write_audio
from recipes.corpora.manifest import MANIFEST_NAME, CorpusRow, write_manifest
from recipes.release.audio_page import main
from recipes.release.licensed_clips import Licence, choose_clips, read_licences

TABLE = "| source | licence |\n| --- | --- |\n| free | CC0 1.0 |\n| bound | CC BY-NC 4.0 |\n\nend\n"


@pytest.fixture
def corpus(tmp_path: Path, make_waveform: Callable[..., np.ndarray]) -> Path:
    rows = []
    for source in ("free", "bound", "unnamed"):
        audio = tmp_path / f"{source}.wav"
        write_audio(audio, make_waveform(3.2))
        more = {"source": source}
        rows.append(CorpusRow(source, audio, 3.2, "", "s", "en", "valid", more))
    write_manifest(tmp_path / MANIFEST_NAME, rows)
    (tmp_path / "LICENSES.md").write_text(TABLE, "utf-8")
    return tmp_path


def test_only_clips_that_may_be_passed_on_are_taken(corpus: Path) -> None:
    chosen, left_out = choose_clips(corpus, read_licences(corpus / "LICENSES.md"))
    assert list(chosen) == ["free"]
    assert sorted(left_out) == ["bound", "unnamed"]


@pytest.mark.parametrize(
    ("name", "free"),
    [("CC BY 4.0", True), ("Apache-2.0 (card)", True), ("CC BY-ND 4.0", False), ("", False)],
)
def test_licences(name: str, free: bool) -> None:
    assert Licence(name, "").is_free is free


@pytest.mark.large
def test_a_page_holds_players_of_what_was_written(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "listen"
    assert main([str(corpus), "--out", str(out), "--sentence", "Yes."]) == 0
    page = (out / "index.md").read_text("utf-8")
    names = {path.name for path in out.glob("*.ogg")}
    assert names == {"recording_1.ogg", "reconstructed_1.ogg", "spoken_1.ogg"}
    assert all(f'src="{name}"' in page for name in names)
    assert all((out / name).read_bytes()[:4] == b"OggS" for name in names)
    assert "CC0 1.0" in page


def test_clips_of_an_earlier_page_are_removed(corpus: Path, tmp_path: Path) -> None:
    """One whose licence no longer allows it stayed in the folder that is published."""
    out = tmp_path / "listen"
    out.mkdir()
    for name in ("recording_1.ogg", "reconstructed_2.ogg", "spoken_9.ogg", "mine.ogg"):
        (out / name).write_bytes(b"before")
    assert main(["--out", str(out), "--sentence", "Yes."]) == 0
    assert {path.name for path in out.glob("*.ogg")} == {"spoken_1.ogg", "mine.ogg"}


def test_a_mistyped_source_is_refused(corpus: Path) -> None:
    with pytest.raises(ValueError, match=r"expected some of \['bound', 'free', 'unnamed'\]"):
        choose_clips(corpus, read_licences(corpus / "LICENSES.md"), ["fre"])
