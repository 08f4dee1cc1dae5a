"""The page of the app in Chromium, by the command that shows it."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import forked
from tests.support.builders import free_port
from tests.support.chromium import browser as browser
from tests.support.chromium import needs_chromium

from .test_page import OLDEST, gradio_version

LONG = 240_000  # ms that a page on a busy machine may take
# Marks, not fixtures, skip: neither models nor a browser are loaded for nothing.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(gradio_version() < OLDEST, reason=f"no gradio {OLDEST} (extra app)"),
    needs_chromium,
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the page of the first pair, shown by the command."""
    port = free_port()
    output = tmp_path_factory.mktemp("app") / "printed.txt"
    models = ["--codec", "hh-mini-24k", "--lm", "hh-mini-slm"]
    arguments = [*models, "--port", str(port), "--threads", "1"]
    process = forked.start(forked.command, "recipes.app.__main__", arguments, output=output)
    end = time.monotonic() + LONG / 1000
    found = f"http://127.0.0.1:{port}"
    while not answers(found):
        assert process.is_alive(), forked.printed(output)
        assert time.monotonic() < end, forked.printed(output)
        time.sleep(0.2)
    yield found
    process.kill()
    process.join()


def answers(address: str) -> bool:
    """True if a server is there."""
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return response.status == 200
    except OSError:
        return False


def opened(browser: Any, address: str, width: int) -> Any:
    """The tab that speaks, in a window of some width in pixels."""
    page = browser.new_page(viewport={"width": width, "height": 1000})
    page.set_default_timeout(LONG)
    page.goto(address)
    page.get_by_role("tab", name="Speak").click()
    return page


def seconds_spoken(page: Any, speed: str) -> float:
    """Speak a text of the page at a speed, and read how long it became."""
    page.get_by_label("number input for Speed").fill(speed)
    page.get_by_label("number input for Speed").press("Tab")
    page.get_by_role("button", name="Speak", exact=True).click()
    said = page.get_by_text(re.compile(r"^\d+\.\d\d s, \d+ codes"))
    said.wait_for()
    return float(said.inner_text().split(" s,", maxsplit=1)[0])


@pytest.mark.parametrize("width", [1280, 390])
def test_the_fields_of_a_text_fit_the_window(browser: Any, address: str, width: int) -> None:
    page = opened(browser, address, width)
    for label in ("Seed", "number input for Temperature", "number input for Speed"):
        box = page.get_by_label(label, exact=True).locator("visible=true").bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width, label
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_a_text_is_spoken_slower_at_half_the_speed(browser: Any, address: str) -> None:
    seconds = []
    for speed in ("1", "0.5"):
        page = opened(browser, address, 1280)
        page.get_by_label("Text").locator("visible=true").fill("Yes, we do.")
        seconds.append(seconds_spoken(page, speed))
        page.close()
    assert 1.5 * seconds[0] < seconds[1] < 2.5 * seconds[0]
