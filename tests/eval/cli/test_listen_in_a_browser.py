"""The page of `hh-eval listen` in Chromium, without a network, and the report of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from eval.cli.main import main
from tests.support.chromium import browser as browser
from tests.support.chromium import needs_chromium

pytestmark = [
    pytest.mark.slow,
    needs_chromium,
]
RATE = 16000
LONG = 60_000  # ms that a page on a busy machine may take


@pytest.fixture
def folders(make_speech: Callable[..., np.ndarray], tmp_path: Path) -> Path:
    """Two systems and the recordings of two clips."""
    for number, name in enumerate(("recordings", "ours", "opus")):
        (tmp_path / name).mkdir()
        for clip in range(2):
            speech = make_speech(0.4, seed=clip, sample_rate=RATE) * (1 - 0.2 * number)
            soundfile.write(tmp_path / name / f"clip{clip}.wav", speech, RATE)
    return tmp_path


def opened(browser: Any, folders: Path, kind: str, width: int = 900) -> Any:
    """The page of a new test, offline, in a window of some width; the name is not yet given."""
    runs = [f"ours={folders / 'ours'}", f"opus={folders / 'opus'}"]
    out, recordings = str(folders / "out"), str(folders / "recordings")
    assert main(["listen", *runs, "--reference", recordings, "--kind", kind, "--out", out]) == 0
    context = browser.new_context(viewport={"width": width, "height": 800}, accept_downloads=True)
    context.set_offline(True)
    page = context.new_page()
    page.set_default_timeout(LONG)
    page.failures = []
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    page.on("requestfailed", lambda request: page.failures.append(request.url))
    page.goto((folders / "out/listen.html").as_uri())
    return page


def answers_of(page: Any, folders: Path) -> dict[str, Any]:
    """The file that the page offers at its end, put where `hh-eval report` looks for it."""
    with page.expect_download() as offered:
        page.click("#download")
    path = folders / "out" / offered.value.suggested_filename
    offered.value.save_as(path)
    assert not page.failures
    page.context.close()
    return json.loads(path.read_text(encoding="utf-8"))


def test_pairs_are_answered_by_keys_and_reported(
    browser: Any, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = opened(browser, folders, "ab")
    page.fill("input[name=listener]", "Ann Ä")
    page.keyboard.press("Enter")
    for place in (1, 2):
        page.wait_for_selector(f"h2:has-text('{place} of 2')")
        # Nothing can be preferred before both are heard, nor left unanswered.
        assert page.is_disabled("button:has-text('A is better')")
        page.keyboard.press("a")
        page.keyboard.press("1")
        page.keyboard.press("Enter")
        assert page.is_visible(f"h2:has-text('{place} of 2')")
        page.keyboard.press("2")
        page.keyboard.press("r")
        page.keyboard.press("a")
        page.keyboard.press("Enter")
    answers = answers_of(page, folders)
    assert answers["listener"] == "Ann Ä"
    assert len(answers["answers"]) == 2
    for each in answers["answers"]:
        assert each["choice"] == each["stimuli"][0]
        assert sum(each["plays"].values()) == 3
    capsys.readouterr()
    assert main(["report", str(folders / "out")]) == 0
    assert "ours" in capsys.readouterr().out


def test_answers_that_were_not_saved_are_not_lost_without_a_question(
    browser: Any, folders: Path
) -> None:
    page = opened(browser, folders, "ab")
    page.on("dialog", lambda dialog: dialog.dismiss())
    # A name of spaces alone is asked for again.
    page.fill("input[name=listener]", " ")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('input:invalid') !== null")
    page.fill("input[name=listener]", "Dora")
    page.keyboard.press("Enter")
    for place in (1, 2):
        page.wait_for_selector(f"h2:has-text('{place} of 2')")
        for key in ("1", "2", "n"):
            page.keyboard.press(key)
        with page.expect_event("dialog") as asked:
            page.evaluate("setTimeout(() => location.reload())")
        assert asked.value.type == "beforeunload"
        assert page.is_visible(f"h2:has-text('{place} of 2')")
        page.keyboard.press("Enter")
    page.wait_for_selector("#download")
    with page.expect_event("dialog"):
        page.close(run_before_unload=True)
    assert len(answers_of(page, folders)["answers"]) == 2


def test_sounds_are_really_played(browser: Any, folders: Path) -> None:
    """A page that only counts clicks would look the same."""
    page = opened(browser, folders, "ab")
    page.evaluate(
        "() => { window.ended = 0; HTMLMediaElement.prototype.play = (was => function () {"
        " this.addEventListener('ended', () => { window.ended += 1; }, {once: true});"
        " return was.call(this); })(HTMLMediaElement.prototype.play); }"
    )
    page.fill("input[name=listener]", "Ben")
    page.click("button:has-text('Start')")
    page.click("button:has-text('Play A')")
    page.wait_for_function("() => window.ended === 1")
    page.context.close()


def test_scores_are_given_on_a_narrow_screen_and_reported(
    browser: Any, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = opened(browser, folders, "mushra", width=390)
    page.fill("input[name=listener]", "Cid")
    page.click("button:has-text('Start')")
    for place in (1, 2):
        page.wait_for_selector(f"h2:has-text('{place} of 2')")
        # Two systems and the hidden reference; nothing lies beside the screen.
        assert page.locator("input[type=range]").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        for number in range(3):
            page.keyboard.press(str(number + 1))
            page.locator("input[type=range]").nth(number).fill(str(40 + 20 * number))
            assert page.is_disabled("#next") == (number < 2)
        page.click("#next")
    answers = answers_of(page, folders)
    assert [sorted(each["scores"].values()) for each in answers["answers"]] == [[40, 60, 80]] * 2
    capsys.readouterr()
    assert main(["report", str(folders / "out")]) == 0
    said = capsys.readouterr().out
    assert "opus" in said
