"""Comparison with committed results: ratios of ratios, and the tolerance of a fall."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.harness.machine import file_name
from benchmarks.harness.records import CurveResult, FigureResult, Record, read_records

# Share of a ratio by which it may fall.
TOLERANCE = 1 / 3
# A curve may be steeper than the committed one by so much, and by anything below linear growth.
STEEPER = 0.25
# Figures below the tolerance are measured again, with 2 and then 4 times the rounds.
RETRIES = (2, 4)

Again = Callable[[Collection[str], int], tuple[dict[str, FigureResult], dict[str, CurveResult]]]


@dataclass(frozen=True)
class Baseline:
    """Committed results to compare with."""

    path: Path  # of their file
    record: Record  # of the same suite and kind of processor
    tolerance: float = TOLERANCE  # largest share of it by which a ratio may have fallen


def find_baseline(folder: Path, suite: str, cpu: str, threads: int) -> Baseline | None:
    """Find results of this kind of processor, None where there are those of other kinds alone.

    Ratios are not the same on all: what one has in its instructions another has in its caches.

    Raises:
        ValueError: There are none of this suite and number of threads.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        record = read_records(path).get(suite)
        if record is not None and record.threads == threads:
            found[path] = record
    if not found:
        raise ValueError(
            f"expected results of the suite {suite} with {threads} threads in {folder}, found "
            f"none: python -m benchmarks.run --suite {suite} --update makes them"
        )
    own = folder / file_name(cpu)
    return Baseline(own, found[own]) if own in found else None


def changes(record: Record, baseline: Baseline) -> dict[str, float]:
    """Divide the ratio now by the committed one, for every figure that both have."""
    before = baseline.record.figures
    return {
        key: now.ratio / before[key].ratio for key, now in record.figures.items() if key in before
    }


def falls(record: Record, baseline: Baseline) -> dict[str, str]:
    """Find ratios that fell and curves that grew steeper: a sentence of each, by name."""
    least, found = 1 - baseline.tolerance, {}
    for key, change in changes(record, baseline).items():
        if change < least:
            before, now = baseline.record.figures[key], record.figures[key]
            found[key] = (
                f"{key}: {now.ratio:.3g} ({now.low:.3g} to {now.high:.3g}, {now.rounds} rounds), "
                f"was {before.ratio:.3g} ({before.low:.3g} to {before.high:.3g}): {change:.2f} of "
                f"it, at least {least:.2f} is asked for"
            )
    for name, curve in record.curves.items():
        before = baseline.record.curves.get(name)
        if before and curve.worse_than_linear and curve.exponent > before.exponent + STEEPER:
            found[name] = (
                f"{name}: worse than linear, exponent {curve.exponent:.2f} +- {curve.error:.2f}, "
                f"was {before.exponent:.2f} +- {before.error:.2f}"
            )
    return found


def settle(record: Record, baseline: Baseline, again: Again) -> tuple[Record, dict[str, str]]:
    """Measure again what seems to have fallen, since a busy machine may have slowed one side.

    Args:
        record: As measured.
        baseline: To compare with.
        again: Given names and a factor of the rounds, measures these figures and curves.

    Returns:
        The record with the new measurements, and `falls` of it: what was below the tolerance every
        time.
    """
    for factor in RETRIES:
        suspects = falls(record, baseline)
        if not suspects:
            break
        figures, curves = again(list(suspects), factor)
        record = replace(record, figures=record.figures | figures, curves=record.curves | curves)
    return record, falls(record, baseline)


def not_compared(record: Record, baseline: Baseline) -> list[str]:
    """List the names of committed results that were not measured now, and of new ones."""
    before = {*baseline.record.figures, *baseline.record.curves}
    return sorted(before ^ {*record.figures, *record.curves})
