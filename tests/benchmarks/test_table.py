from pathlib import Path

import pytest

from benchmarks.cases.registry import BENCHMARKS
from benchmarks.harness.benchmark import Figure
from benchmarks.harness.records import write_records
from benchmarks.table import END, START, main, markdown, page_section, replace_section

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = BENCHMARKS["loader.rows"]
KEY = ROWS.key(ROWS.figures[0])


def test_a_figure_stands_with_its_spread_its_rates_and_its_change(make_record):
    record = make_record({KEY: 0.125}, {"loader.opening": 1.5}, skipped={"x": "no x"})
    text = markdown(record, {KEY: 0.9})
    figure: Figure = ROWS.figures[0]
    row = "| packed rows | flat tokens | **0.125** | 0.0938 to 0.156 | 0.250, 2.00 | 0.90 | "
    assert row + figure.meaning in text
    assert "| 1.50 ± 0.02 | 1.50 | **worse than linear** |" in text
    assert "- x: no x" in text
    assert "commit `0000000`" in text
    assert "| new |" in markdown(record, {})
    assert "of the committed" not in markdown(record)


def test_the_page_shows_the_latest_results_and_names_the_others(tmp_path, make_record):
    new = make_record({KEY: 0.5}, cpu="New", date="2027-01-01T00:00:00+00:00")
    write_records(tmp_path / "old.json", {"small": make_record({KEY: 0.25}, cpu="Old")})
    write_records(tmp_path / "new.json", {"small": new})
    section = page_section(tmp_path)
    assert "**0.500**" in section
    assert "**0.250**" not in section
    assert "`old.json`" in section
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected benchmark results"):
        page_section(tmp_path / "empty")


def test_what_is_written_by_hand_stays(tmp_path, make_record):
    page, results = tmp_path / "page.md", tmp_path / "results"
    page.write_text(f"# By hand\n\n{START}\nold\n{END}\n\nAlso by hand.\n", encoding="utf-8")
    results.mkdir()
    write_records(results / "a.json", {"small": make_record({KEY: 0.5}, {"loader.opening": 1.0})})
    words = ["--results", str(results), "--page", str(page), "--picture", str(tmp_path / "a.png")]
    assert main(words) == 0
    text = page.read_text(encoding="utf-8")
    assert text == replace_section(text, page_section(results))
    assert text.startswith("# By hand\n")
    assert text.endswith(f"{END}\n\nAlso by hand.\n")
    assert "old" not in text
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_page_without_markers_is_refused(tmp_path, make_record, capsys):
    page = tmp_path / "page.md"
    page.write_text("# By hand\n", encoding="utf-8")
    write_records(tmp_path / "a.json", {"small": make_record({KEY: 0.5})})
    assert main(["--results", str(tmp_path), "--page", str(page)]) == 2
    assert "each once" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "# By hand\n"


def test_the_page_is_that_of_the_committed_results():
    page = (ROOT / "docs/reports/benchmarks.md").read_text(encoding="utf-8")
    assert page == replace_section(page, page_section())
