"""A browser for tests of pages, where one is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# A mark, not a fixture: nothing that a page needs is made for nothing.
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")
_QUIET = (
    *("--disable-background-networking", "--disable-component-update", "--disable-gpu"),
    *("--disable-quic", "--disable-sync", "--mute-audio", "--no-first-run", "--no-sandbox"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium by Playwright, silent and without requests of its own."""
    driver = pytest.importorskip("playwright.sync_api", reason="it drives the browser")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_QUIET])
        yield browser
        browser.close()
