"""Results as JSON: one file a processor, with a record for each suite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from codec.error_text import message_of
from codec.files import read_json, write_json

FORMAT = "hh-slm benchmarks 1"
RESULTS = Path(__file__).resolve().parent.parent / "results"


@dataclass(frozen=True)
class FigureResult:
    """A figure as measured."""

    ratio: float  # speed of ours over that of the other, median of the rounds; higher is better
    low: float  # lower quartile of the rounds
    high: float  # upper quartile
    rounds: int  # their number
    ours_rate: float  # units of work a second, median round
    other_rate: float  # the same of the other
    unit: str  # of work


@dataclass(frozen=True)
class CurveResult:
    """A cost curve as measured; exponent, error and last slope as in `power_law.Fit`."""

    axis: str
    sizes: list[float]
    seconds: list[float]
    exponent: float
    error: float
    last: float
    worse_than_linear: bool


@dataclass(frozen=True)
class Record:
    """One run of one suite."""

    suite: str  # of SUITES
    date: str  # UTC, ISO 8601
    commit: str | None  # of the checkout, with `-dirty` when files differ; None outside git
    command: str  # command line of the run
    threads: int  # of torch and of numerical libraries
    clock: str  # kind of the seconds, a key of `timing.CLOCKS`
    wall_seconds: float  # of the run
    machine: dict[str, Any]  # as `machine.describe` returns it
    figures: dict[str, FigureResult] = field(default_factory=dict)  # by key
    curves: dict[str, CurveResult] = field(default_factory=dict)  # by name
    # Reasons of figures that could not be measured, by key.
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def cpu(self) -> str:
        """Model of the processor."""
        return self.machine["cpu"]


def read_records(path: Path) -> dict[str, Record]:
    """Read the records of a file, by suite.

    Raises:
        ValueError: The file is missing or holds something else.
    """
    try:
        stored = read_json(path)
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']!r}")
        return {name: _record(suite) for name, suite in stored["suites"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"expected benchmark results ({FORMAT}) at {path}: {message_of(error)}"
        ) from error


def write_records(path: Path, records: Mapping[str, Record]) -> None:
    """Write records by suite, whole or not at all."""
    suites = {name: _rounded(asdict(record)) for name, record in records.items()}
    write_json(path, {"format": FORMAT, "suites": suites})


def _record(stored: dict[str, Any]) -> Record:
    """A record from its JSON."""
    figures = {key: FigureResult(**each) for key, each in stored["figures"].items()}
    curves = {name: CurveResult(**each) for name, each in stored["curves"].items()}
    return Record(**{**stored, "figures": figures, "curves": curves})


def _rounded(value: Any) -> Any:
    """Numbers to five significant digits: more are noise that changes every line of a diff."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
