"""One run of a suite: everything in it is measured and kept as one record."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import torch

from benchmarks.cases.registry import chosen

from .benchmark import Benchmark, CostCurve
from .machine import commit, describe
from .measure import Bench, measure, measure_curve
from .records import CurveResult, FigureResult, Record
from .timing import CLOCKS, clock_name


@dataclass(frozen=True)
class Session:
    """What is measured and how.

    Attributes:
        suite: of `contest.SUITES`, or "tiny".
        benchmarks: which.
        curves: which.
        threads: of torch.
        progress: told what is being done.
    """

    suite: str
    benchmarks: Sequence[Benchmark]
    curves: Sequence[CostCurve]
    threads: int
    progress: Callable[[str], None]

    @property
    def bench(self) -> Bench:
        """How each is measured."""
        return Bench(self.suite, CLOCKS[clock_name(self.threads)], self.progress)

    def run(self, command: str) -> Record:
        """Measure everything once."""
        torch.set_num_threads(self.threads)
        start = time.monotonic()
        record = Record(
            suite=self.suite,
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            commit=commit(),
            command=command,
            threads=self.threads,
            clock=clock_name(self.threads),
            wall_seconds=0.0,
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


def open_session(
    suite: str, names: Sequence[str], threads: int, progress: Callable[[str], None]
) -> Session:
    """A session of a suite, or of the parts of it with these names.

    Raises:
        ValueError: a name that is not in the suite, or no threads.
    """
    if threads < 1:
        raise ValueError(f"expected one thread or more, got {threads}")
    benchmarks, curves = chosen(suite, names)
    return Session(suite, benchmarks, curves, threads, progress)
