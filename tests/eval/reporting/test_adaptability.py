from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval.cli.main import main
from eval.reporting.adaptability import draw_curves, read_results, render


def figure(value: float | None, better: bool) -> dict[str, Any]:
    return {"value": value, "ci95": None, "unit": "", "higher_is_better": better, "n_failed": 0}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A comparison of a tokenizer that keeps speech and of one that keeps nothing."""
    about = {"title": "Two tokenizers.", "seconds": {}, "provenance": {"command": "adapt x"}}
    (tmp_path / "run.json").write_text(json.dumps(about))
    for name, bits, stoi in (("keeps", 250.0, 0.8), ("constant", 0.0, 0.1)):
        result = {
            "name": name,
            "bits_per_second": bits,
            "bigram_bits_per_second": bits + 20,
            "raw_bitrate": 300.0,
            "share_removed": 1 - bits / 300,
            "bits_per_second_given_text": None,
            "resynthesis": {"stoi": figure(stoi, True)},
            "generation": None,
        }
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result))
        rows = [
            {"step": n, "audio_seconds": 60.0 * n, "bits_per_second": bits + 9 / n} for n in (1, 2)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name / "curve.jsonl").write_text(lines)
    (tmp_path / "unfinished").mkdir()
    return tmp_path


def test_the_cheapest_stream_comes_first_with_its_resynthesis_beside_it(run: Path) -> None:
    results = read_results(run)
    assert [result["name"] for result in results] == ["constant", "keeps"]
    assert len(results[1]["curve"]) == 2
    text = render(run).markdown
    assert "| keeps | 0.800 |" in text
    assert "0 bit/s" in text
    assert "Not comparable" in text
    assert "command: adapt x" in text
    # What nobody measured is a dash, and what no row has is told.
    assert "Speech of valid texts by the language model: none was made." in text
    assert "| - |" in text


def test_the_command_writes_page_picture_and_figures(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    assert main(["adapt", str(run)]) == 0
    assert "| constant |" in capsys.readouterr().out
    assert (run / "adapt.png").read_bytes()[:4] == b"\x89PNG"
    assert len(json.loads((run / "adapt.json").read_text())["results"]) == 2
    assert main(["adapt", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(run / "adapt.md")


def test_curves_are_drawn_without_any_quality(run: Path) -> None:
    pytest.importorskip("matplotlib")
    results = [{**result, "resynthesis": None} for result in read_results(run)]
    assert draw_curves(results, run / "plain.png") == run / "plain.png"


def test_a_folder_that_is_no_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a folder of recipes\.comparisons\.adapt"):
        read_results(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="at least one finished tokenizer"):
        read_results(tmp_path)
    assert main(["adapt", str(tmp_path)]) == 2
