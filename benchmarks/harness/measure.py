"""Running benchmarks and curves: contestants are made, take turns, and leave figures."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from .benchmark import Benchmark, Call, CostCurve
from .power_law import fit_exponent
from .records import CurveResult, FigureResult
from .timing import ratio, take_turns


@dataclass(frozen=True)
class Bench:
    """How things are measured.

    Attributes:
        size: of SIZES.
        clock: seconds.
        progress: told what is being done.
    """

    size: str
    clock: Callable[[], float]
    progress: Callable[[str], None] = lambda text: None


@dataclass
class Found:
    """Figures by key, and those that could not be measured, with the reason."""

    figures: dict[str, FigureResult] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def measure(
    benchmark: Benchmark,
    bench: Bench,
    *,
    rounds: int | None = None,
    keys: Collection[str] | None = None,
) -> Found:
    """Figures of a benchmark.

    Args:
        benchmark: which.
        bench: how.
        rounds: turns of each contestant; None for the benchmark's own.
        keys: which figures; None for all of this size. Only their contestants are made.
    """
    wanted = {k: f for k, f in benchmark.of_size(bench.size).items() if keys is None or k in keys}
    found = Found()
    if not wanted:
        return found
    with tempfile.TemporaryDirectory() as folder:
        contestants = benchmark.build(bench.size, Path(folder))
        calls: dict[str, Call] = {}
        missing: dict[str, str] = {}
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
    each = {n: [s / contestants[n].work for s in times] for n, times in seconds.items()}
    for key, figure in wanted.items():
        lacking = [missing[n] for n in (figure.ours, figure.other) if n in missing]
        if lacking:
            found.skipped[key] = lacking[0]
            continue
        ours, other = each[figure.ours], each[figure.other]
        is_now = ratio(ours, other)
        found.figures[key] = FigureResult(
            is_now.value,
            is_now.low,
            is_now.high,
            is_now.rounds,
            1 / statistics.median(ours),
            1 / statistics.median(other),
            benchmark.unit,
        )
    return found


def measure_curve(curve: CostCurve, bench: Bench, *, rounds: int | None = None) -> CurveResult:
    """A cost curve: its points take turns, and the fastest round of each counts."""
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
