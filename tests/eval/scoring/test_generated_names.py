"""Names of generated files."""

from __future__ import annotations

from pathlib import Path

import pytest

from eval.scoring.generated import ManifestError, read_generation


def test_a_suffix_of_any_case_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.WAV").touch()
    (tmp_path / "meta.lst").write_text("b|x|p.wav|text\n")
    (pair,) = read_generation(tmp_path / "meta.lst", tmp_path)
    assert pair.estimate == tmp_path / "b.WAV"


@pytest.mark.parametrize("name", ["../a", "/etc/a", "x" * 300])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "meta.lst").write_text(f"{name}|x|p.wav|text\n")
    with pytest.raises(ManifestError, match=r"meta\.lst:1: expected an id"):
        read_generation(tmp_path / "meta.lst", tmp_path)
