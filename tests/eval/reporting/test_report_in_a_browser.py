"""Reports in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eval.reporting.report import Estimate, Report, Table, write_report
from tests.support.chromium import browser as browser
from tests.support.chromium import needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]


def test_word_error_rates_of_three_systems_fit_a_telephone(browser: Any, tmp_path: Path) -> None:
    whole = Estimate(1.0, 1.0, 1.0, "%", "mean 100.0 %")
    table = Table(
        "Words", ["figure", "original", "reconstructed", "spoken"], [["wer ↓", *[whole] * 3]]
    )
    path = write_report(Report("A run", tables=[table]), tmp_path / "report.html")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(path.as_uri())
    needed, given = page.evaluate(
        "(each => [each.scrollWidth, each.clientWidth])(document.querySelector('.scroll'))"
    )
    assert needed <= given
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()
