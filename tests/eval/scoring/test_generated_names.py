"""Names of generated files."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from codec.files.json_lines import write_json_lines
from eval.scoring.generated import ManifestError, read_generation, read_records


def test_a_suffix_of_any_case_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.WAV").touch()
    (tmp_path / "meta.lst").write_text("b|x|p.wav|text\n")
    (pair,) = read_generation(tmp_path / "meta.lst", tmp_path)
    assert pair.estimate == tmp_path / "b.WAV"


@pytest.mark.parametrize("other", ["b.flac", "b.Wav"])
def test_two_files_of_an_utterance_are_refused(tmp_path: Path, other: str) -> None:
    """The one left by an earlier run was scored in the place of the other."""
    for name in ("b.wav", other):
        (tmp_path / name).touch()
    (tmp_path / "meta.lst").write_text("b|x|p.wav|text\n")
    with pytest.raises(ValueError, match=r"expected one file for 'b', got .* and "):
        read_generation(tmp_path / "meta.lst", tmp_path)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_either_form_of_its_accents(
    tmp_path: Path, forms: tuple[Literal["NFC", "NFD"], Literal["NFC", "NFD"]]
) -> None:
    listed, kept = (unicodedata.normalize(form, "caf\u00e9") for form in forms)
    (tmp_path / f"{kept}.flac").touch()
    (tmp_path / "meta.lst").write_text(f"{listed}|x|p.wav|text\n")
    (pair,) = read_generation(tmp_path / "meta.lst", tmp_path)
    assert (pair.id, pair.estimate) == (listed, tmp_path / f"{kept}.flac")


def test_a_record_is_found_in_either_form_of_its_accents(tmp_path: Path) -> None:
    record = {"id": unicodedata.normalize("NFD", "caf\u00e9"), "truncated": True}
    write_json_lines(tmp_path / "generation.jsonl", [record])
    found = read_records(None, tmp_path, ["caf\u00e9"])
    assert found["caf\u00e9"].truncated is True


@pytest.mark.parametrize("name", ["../a", "/etc/a", "x" * 300])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "meta.lst").write_text(f"{name}|x|p.wav|text\n")
    with pytest.raises(ManifestError, match=r"meta\.lst:1: expected an id"):
        read_generation(tmp_path / "meta.lst", tmp_path)
