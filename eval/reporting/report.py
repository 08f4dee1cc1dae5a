"""A report as one HTML file that opens offline: tables, charts, pictures and players inside."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import numpy as np

from codec.files import write_text
from eval.scoring.summary import number_text

from .html import page
from .line_chart import LineChart, line_chart
from .media import audio_uri, mel_peak, mel_picture_uri


@dataclass(frozen=True)
class Estimate:
    """A number in a table."""

    value: float | None  # None shows a dash
    low: float | None = None  # lower end of its interval, None for no interval
    high: float | None = None
    unit: str = ""  # "%" shows fractions in per cent
    note: str = ""  # small print below, such as "40 of 40"


Cell = str | int | float | None | Estimate


@dataclass(frozen=True)
class Table:
    """Rows of cells under column names; the first column names the row."""

    title: str
    columns: Sequence[str]  # names, the first for the row names
    rows: Sequence[Sequence[Cell]]  # cells, as many as columns in each
    note: str = ""  # a sentence below

    def __post_init__(self) -> None:
        """Check that rows fit the columns."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"table {self.title!r}: expected {len(self.columns)} cells, got {len(row)}"
                )


@dataclass(frozen=True, eq=False)
class Clip:
    """One utterance to look at and listen to."""

    id: str
    text: str = ""  # transcript, "" when unknown
    # Further lines by name, such as {"heard": "...", "STOI": "0.91"}.
    notes: dict[str, str] = field(default_factory=dict)
    # (waveform (T,) float in [-1, 1], sample rate in Hz) by label, in the order shown: "original",
    # "reconstructed", "generated". They share time and colour scales.
    audio: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An item that could not be measured or made."""

    id: str
    where: str
    reason: str


@dataclass(frozen=True)
class Report:
    """Everything on the page; empty parts are left out."""

    title: str  # heading and name of the page
    subtitle: str = ""  # a sentence under it
    failures: Sequence[Failure] = ()  # shown first
    tables: Sequence[Table] = ()
    charts: Sequence[LineChart] = ()  # training curves, codebook ranks and the like
    clips: Sequence[Clip] = ()  # pictures and players
    # Command, commit, hardware, date and so on, by name.
    provenance: dict[str, str] = field(default_factory=dict)


def render_report(report: Report) -> str:
    """Render the report as HTML text without any reference to another file or host."""
    tables = [_section(table.title, _table(table)) for table in report.tables if table.rows]
    sections = [
        _section("Failures", _failures(report.failures)),
        f'<div class="tables">{"".join(tables)}</div>' if tables else "",
        _section("Curves", _charts(report.charts)),
        _section("Clips", "".join(_clip(clip) for clip in report.clips)),
        _section("How this was made", _definitions(report.provenance, "code")),
    ]
    return page(report.title, report.subtitle, "".join(sections))


def write_report(report: Report, path: Path | str) -> Path:
    """Write the report whole or not at all, and return its path."""
    return write_text(path, render_report(report))


def _section(title: str, body: str) -> str:
    """A titled part of the page, "" without a body."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _failures(failures: Sequence[Failure]) -> str:
    """Failures with their reasons; an item that failed several times for one has one line."""
    if not failures:
        return ""
    grouped: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        grouped.setdefault((failure.id, failure.reason), []).append(failure.where)
    entries = "".join(
        f"<li><strong>{escape(name)}</strong> {escape(reason)} "
        f"<small>{escape(', '.join(dict.fromkeys(where)))}</small></li>"
        for (name, reason), where in grouped.items()
    )
    items = len({failure.id for failure in failures})
    head = f"Missing from the figures below: {len(failures)} scores, items: {items}."
    return f'<div class="alert"><p>{head}</p><ul>{entries}</ul></div>'


_WORDS = ' class="words"'


def _table(table: Table) -> str:
    """A table that scrolls sideways within itself on a narrow screen."""
    # A column of texts alone is aligned left, with its head.
    words = [all(isinstance(row[n], str) for row in table.rows) for n in range(len(table.columns))]
    head = "".join(
        f'<th scope="col"{_WORDS if is_words else ""}>{escape(name)}</th>'
        for name, is_words in zip(table.columns, words, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{_cell(row[0])}</th>'
        # Numbers go right by the style sheet, texts left.
        + "".join(
            f"<td{_WORDS if isinstance(cell, str) else ''}>{_cell(cell)}</td>" for cell in row[1:]
        )
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"</div>{note}"
    )


def _cell(cell: Cell) -> str:
    """HTML of a cell."""
    if isinstance(cell, str):
        # A narrow screen may break long names where their words join.
        return re.sub(r"_|\.(?=[a-z])", r"\g<0><wbr>", escape(cell))
    estimate = cell if isinstance(cell, Estimate) else Estimate(cell)
    if estimate.value is None or not math.isfinite(estimate.value):
        main = "-"
    else:
        main = number_text(estimate.value, unit=estimate.unit)
    small = []
    if estimate.low is not None and estimate.high is not None:
        ends = [
            number_text(end, unit=estimate.unit).removesuffix(estimate.unit)
            for end in (estimate.low, estimate.high)
        ]
        small.append(f"{ends[0].strip()} … {ends[1].strip()}")
    if estimate.note:
        small.append(escape(estimate.note))
    return escape(main) + "".join(f"<small>{line}</small>" for line in small)


def _charts(charts: Sequence[LineChart]) -> str:
    """Charts side by side where there is room."""
    figures = []
    for chart in charts:
        svg = line_chart(chart)
        if svg:
            note = f'<p class="note">{escape(chart.note)}</p>' if chart.note else ""
            figures.append(f"<figure><h3>{escape(chart.title)}</h3>{svg}{note}</figure>")
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _clip(clip: Clip) -> str:
    """One utterance: its text, then picture and player of every version."""
    # Pictures side by side share their time axis and their colours.
    durations = [len(waveform) / rate for waveform, rate in clip.audio.values()]
    # A version that cannot be drawn must not keep the others from being shown.
    usable = [a for a in clip.audio.values() if len(a[0]) and np.isfinite(a[0]).all()]
    loudest = max((mel_peak(*audio) for audio in usable), default=0.0)
    versions = []
    for label, (waveform, rate) in clip.audio.items():
        caption = f"{escape(label)} <small>{len(waveform) / rate:.2f} s</small>"
        try:
            picture = mel_picture_uri(waveform, rate, seconds=max(durations), loudest=loudest)
            body = (
                f'<img src="{picture}" alt="log-mel of {escape(label)}, {escape(clip.id)}">'
                f'<audio controls preload="none" src="{audio_uri(waveform, rate)}"></audio>'
            )
        except ValueError as error:
            body = f'<p class="bad">{escape(str(error))}</p>'
        versions.append(f"<figure><figcaption>{caption}</figcaption>{body}</figure>")
    text = f"<blockquote>{escape(clip.text)}</blockquote>" if clip.text else ""
    heading = f"<h3>{escape(clip.id)}</h3>{text}{_definitions(clip.notes)}"
    return f'<article>{heading}<div class="versions">{"".join(versions)}</div></article>'


def _definitions(values: Mapping[str, str], tag: str = "") -> str:
    """Names with their values, each in an element of its own if wanted; "" for none."""
    start, end = (f"<{tag}>", f"</{tag}>") if tag else ("", "")
    entries = "".join(
        f"<dt>{escape(name)}</dt><dd>{start}{escape(str(value))}{end}</dd>"
        for name, value in values.items()
    )
    return f"<dl>{entries}</dl>" if entries else ""
