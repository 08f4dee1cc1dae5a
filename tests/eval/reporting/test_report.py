"""The report page."""

import base64
import io
import re
from html.parser import HTMLParser

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

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.links = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def full_report(make_speech):
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
def html(full_report):
    return render_report(full_report)


def test_the_page_is_one_file_without_links(html):
    page = Page(html)
    assert all(link.startswith("data:") for link in page.links)
    # The name of SVG is no link.
    rest = html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", rest)
    assert "url(" not in html
    assert not {"script", "link", "iframe"} & set(page.tags)


def test_the_page_contains_every_piece(html):
    page = Page(html)
    assert page.tags.count("svg") == 2
    assert page.tags.count("img") == page.tags.count("audio") == 2
    assert "A &lt;title&gt;" in html
    assert "Hello &lt;there&gt;" in html
    for text in ("reference is silent", "0.850 … 0.950", "abc123", "of &amp; for"):
        assert text in html


def test_failures_come_first(html):
    assert html.index("reference is silent") < html.index("0.900") < html.index("<svg")


def test_audio_that_cannot_be_shown_says_why(html):
    assert "expected a finite waveform" in html


def test_empty_parts_are_left_out():
    page = Page(render_report(Report("Nothing")))
    assert "h2" not in page.tags
    hollow = Report("x", tables=[Table("t", ("a",), [])], charts=[LineChart("c", "x", "y", [])])
    assert "h2" not in Page(render_report(hollow)).tags


def test_the_page_fits_a_phone_and_a_dark_room(html):
    assert 'name="viewport" content="width=device-width' in html
    assert "prefers-color-scheme: dark" in html


def test_a_report_is_the_same_bytes_every_time(full_report, html, tmp_path):
    assert write_report(full_report, tmp_path / "r.html").read_text(encoding="utf-8") == html


def test_players_hold_the_waveform(make_speech):
    speech = make_speech(0.5)
    data = base64.b64decode(audio_uri(speech, RATE).removeprefix("data:audio/flac;base64,"))
    again, rate = soundfile.read(io.BytesIO(data))
    assert rate == RATE
    np.testing.assert_allclose(again, speech, atol=1 / 32000)


def test_pictures_are_png_and_differ_with_the_sound(make_speech):
    first, second = (mel_picture_uri(make_speech(0.5, seed=seed), RATE) for seed in (0, 1))
    assert first != second
    data = base64.b64decode(first.removeprefix("data:image/png;base64,"))
    assert data.startswith(b"\x89PNG")


def test_rows_must_fit_their_columns():
    with pytest.raises(ValueError, match="expected 2 cells, got 1"):
        Table("t", ("a", "b"), [("x",)])


def test_missing_numbers_are_dashes():
    table = Table("t", ("a", "b", "c"), [("x", None, Estimate(float("nan")))])
    assert render_report(Report("r", tables=[table])).count("<td>-</td>") == 2
