"""Measurement of benchmarks, cost curves and whole suites."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from codec.checks import at_least
from codec.provenance import utc_time

from .benchmark import Benchmark, Call, CostCurve
from .machine import commit, describe
from .power_law import fit_exponent
from .records import CurveResult, FigureResult, Record
from .timing import CLOCKS, clock_name, ratio, take_turns


@dataclass(frozen=True)
class Bench:
    """Conditions of a measurement."""

    size: str  # of SIZES
    clock: Callable[[], float]  # seconds
    progress: Callable[[str], None] = lambda text: None  # called with a line for each step


@dataclass
class Found:
    """Figures by key, and reasons of those that could not be measured."""

    figures: dict[str, FigureResult] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def measure(
    benchmark: Benchmark,
    bench: Bench,
    *,
    rounds: int | None = None,
    keys: Collection[str] | None = None,
) -> Found:
    """Measure the figures of a benchmark.

    Args:
        benchmark: Contestants and figures.
        bench: Conditions.
        rounds: Turns of each contestant; None for the benchmark's own.
        keys: Of the figures; None for all of this size. Only their contestants are made.
    """
    wanted = {k: f for k, f in benchmark.of_size(bench.size).items() if keys is None or k in keys}
    found = Found()
    if not wanted:
        return found
    with tempfile.TemporaryDirectory() as folder:
        contestants = benchmark.build(bench.size, Path(folder))
        calls: dict[str, Call] = {}
        missing: dict[str, str] = {}
        # Each contestant is made once, whatever number of figures it is in.
        for name in dict.fromkeys(n for f in wanted.values() for n in (f.ours, f.other)):
            bench.progress(f"{benchmark.name}: {name}")
            try:
                calls[name] = contestants[name].make()
            except ImportError as error:
                missing[name] = str(error)
        seconds = take_turns(
            calls,
            rounds or benchmark.rounds,
            clock=bench.clock,
            warm=benchmark.warm,
            progress=lambda text: bench.progress(f"{benchmark.name}: {text}"),
        )
    # Seconds per unit of work, a list of rounds by contestant.
    each = {n: [s / contestants[n].work for s in times] for n, times in seconds.items()}
    for key, figure in wanted.items():
        lacking = [missing[n] for n in (figure.ours, figure.other) if n in missing]
        if lacking:
            found.skipped[key] = lacking[0]
            continue
        ours, other = each[figure.ours], each[figure.other]
        now = ratio(ours, other)
        found.figures[key] = FigureResult(
            ratio=now.value,
            low=now.low,
            high=now.high,
            rounds=now.rounds,
            ours_rate=1 / statistics.median(ours),
            other_rate=1 / statistics.median(other),
            unit=benchmark.unit,
        )
    return found


def measure_curve(curve: CostCurve, bench: Bench, *, rounds: int | None = None) -> CurveResult:
    """Measure a cost curve: its points take turns, and the fastest round of each counts."""
    sizes = list(curve.points[bench.size])
    with tempfile.TemporaryDirectory() as folder:
        bench.progress(f"{curve.name}: {len(sizes)} points")
        make = curve.build(Path(folder))
        calls = {f"{size:g}": make(size) for size in sizes}
        seconds = take_turns(
            calls,
            rounds or curve.rounds,
            clock=bench.clock,
            progress=lambda text: bench.progress(f"{curve.name}: {text}"),
        )
    best = [min(times) for times in seconds.values()]
    fit = fit_exponent(sizes, best)
    return CurveResult(
        curve.axis, sizes, best, fit.exponent, fit.error, fit.last, fit.worse_than_linear
    )


@dataclass(frozen=True)
class Session:
    """One run of a suite, kept as one record.

    Raises:
        ValueError: No threads.
    """

    suite: str  # of `benchmark.SUITES`, or "tiny"
    benchmarks: Sequence[Benchmark]  # to measure
    curves: Sequence[CostCurve]  # to measure
    threads: int  # of torch, at least 1
    progress: Callable[[str], None]  # called with a line for each step

    def __post_init__(self) -> None:
        at_least("threads", self.threads, 1)

    @property
    def bench(self) -> Bench:
        """Conditions of every measurement."""
        return Bench(self.suite, CLOCKS[clock_name(self.threads)], self.progress)

    def run(self, command: str) -> Record:
        """Measure everything once."""
        torch.set_num_threads(self.threads)
        start = time.monotonic()
        record = Record(
            suite=self.suite,
            date=utc_time(),
            commit=commit(),
            command=command,
            threads=self.threads,
            clock=clock_name(self.threads),
            wall_seconds=0.0,  # known at the end
            machine=describe(),
        )
        for benchmark in self.benchmarks:
            found = measure(benchmark, self.bench)
            record.figures.update(found.figures)
            record.skipped.update(found.skipped)
        for curve in self.curves:
            record.curves[curve.name] = measure_curve(curve, self.bench)
        return replace(record, wall_seconds=time.monotonic() - start)

    def again(
        self, names: Collection[str], factor: int
    ) -> tuple[dict[str, FigureResult], dict[str, CurveResult]]:
        """Measure figures and curves of these names with `factor` times the rounds."""
        figures: dict[str, FigureResult] = {}
        for benchmark in self.benchmarks:
            rounds = factor * benchmark.rounds
            figures |= measure(benchmark, self.bench, rounds=rounds, keys=names).figures
        curves = {
            curve.name: measure_curve(curve, self.bench, rounds=factor * curve.rounds)
            for curve in self.curves
            if curve.name in names
        }
        return figures, curves
