"""The report page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eval.reporting.line_chart import LineChart, Series, codebook_rank_chart
from eval.reporting.media import audio_uri, mel_picture_uri
from eval.reporting.report import (
    Clip,
    Estimate,
    Failure,
    Report,
    Table,
    render_report,
    write_report,
)

RATE = 24000
VOID = {"meta", "img", "wbr"}


class Page(HTMLParser):
    """Collects tags, and checks that they nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.links = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def full_report(make_speech: Callable[..., np.ndarray]) -> Report:
    speech = make_speech(1.5)
    audio = {"original": (speech, RATE), "reconstructed": (0.5 * speech, RATE)}
    broken = {"generated": (np.full(RATE, np.nan), RATE)}
    return Report(
        "A <title>",
        "of & for",
        failures=[Failure("clip9", "valid stoi", "reference is silent")],
        tables=[Table("Figures", ("figure", "valid"), [("stoi", Estimate(0.9, 0.85, 0.95))])],
        charts=[
            LineChart("Loss", "step", "nats", [Series("train", [1, 2], [2.0, 1.0])]),
            codebook_rank_chart(np.array([5, 2, 0])),
        ],
        clips=[Clip("clip1", "Hello <there>", {"WER": "0 %"}, audio), Clip("bad", audio=broken)],
        provenance={"command": "run it", "commit": "abc123"},
    )


@pytest.fixture(scope="module")
def html(full_report: Report) -> str:
    return render_report(full_report)


def test_the_page_is_one_file_without_links(html: str) -> None:
    page = Page(html)
    assert all(link.startswith("data:") for link in page.links)
    # The name of SVG is no link.
    rest = html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", rest)
    assert "url(" not in html
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_the_page_contains_every_piece(html: str) -> None:
    page = Page(html)
    assert page.tags.count("svg") == 2
    assert page.tags.count("img") == page.tags.count("audio") == 2
    assert "A &lt;title&gt;" in html
    assert "Hello &lt;there&gt;" in html
    for text in ("reference is silent", "0.850 … 0.950", "abc123", "of &amp; for"):
        assert text in html


def test_charts_show_their_axes_lines_and_values(html: str) -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", html)
    loss, ranks = html.split("<svg ")[1:]
    for text in ("step", "nats", "train: 1", "1", "2"):
        assert f">{text}</text>" in loss
    for text in ("rank (log)", "occurrences (log)", "entries: 2 of 3 used in 7 codes"):
        assert f">{text}</text>" in ranks
    assert len(texts) > 20
    # Colours of the page, in light and in dark.
    assert "--c0: #2563c9" in html
    assert "var(--c0, #2563c9)" in loss
    assert "svg { display: block; width: 100%; height: auto; color: var(--soft); }" in html


def test_failures_come_first(html: str) -> None:
    assert html.index("reference is silent") < html.index("0.900") < html.index("<svg")


def test_audio_that_cannot_be_shown_says_why(html: str) -> None:
    assert "expected a finite waveform" in html


def test_empty_parts_are_left_out() -> None:
    page = Page(render_report(Report("Nothing")))
    assert "h2" not in page.tags
    hollow = Report("x", tables=[Table("t", ("a",), [])], charts=[LineChart("c", "x", "y", [])])
    assert "h2" not in Page(render_report(hollow)).tags


def test_the_page_fits_a_phone_and_a_dark_room(html: str) -> None:
    assert 'name="viewport" content="width=device-width' in html
    assert "prefers-color-scheme: dark" in html


def test_a_report_is_the_same_bytes_every_time(
    full_report: Report, html: str, tmp_path: Path
) -> None:
    assert write_report(full_report, tmp_path / "r.html").read_text(encoding="utf-8") == html


def test_players_hold_the_waveform(make_speech: Callable[..., np.ndarray]) -> None:
    speech = make_speech(0.5)
    data = base64.b64decode(audio_uri(speech, RATE).removeprefix("data:audio/flac;base64,"))
    again, rate = soundfile.read(io.BytesIO(data))
    assert rate == RATE
    np.testing.assert_allclose(again, speech, atol=1 / 32000)


def test_pictures_are_png_and_differ_with_the_sound(make_speech: Callable[..., np.ndarray]) -> None:
    first, second = (mel_picture_uri(make_speech(0.5, seed=seed), RATE) for seed in (0, 1))
    assert first != second
    data = base64.b64decode(first.removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG")


def test_rows_must_fit_their_columns() -> None:
    with pytest.raises(ValueError, match="expected 2 cells, got 1"):
        Table("t", ("a", "b"), [("x",)])


def test_missing_numbers_are_dashes() -> None:
    table = Table("t", ("a", "b", "c"), [("x", None, Estimate(float("nan")))])
    assert render_report(Report("r", tables=[table])).count("<td>-</td>") == 2
