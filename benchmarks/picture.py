"""Cost curves as one PNG: time against size, both logarithmic, beside a line of slope 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.benchmark import SUITES
from benchmarks.harness.records import CurveResult, read_records
from eval.reporting.line_chart import LineChart, Series, save_line_charts

COLUMNS = 4


def draw_latest(folder: Path, path: Path) -> Path:
    """The curves of the latest results of the largest suite that has some.

    Raises:
        ValueError: no results have curves.
    """
    found = [
        (SUITES.index(suite), record.date, record.curves)
        for file in folder.glob("*.json")
        for suite, record in read_records(file).items()
        if record.curves and suite in SUITES
    ]
    if not found:
        raise ValueError(f"expected results with cost curves in {folder}, found none")
    return draw_curves(max(found, key=lambda each: each[:2])[2], path)


def draw_curves(curves: Mapping[str, CurveResult], path: Path) -> Path:
    """One small chart a curve; those worse than linear are orange.

    Args:
        curves: By name, at least one.
        path: PNG to write, whole or not at all.
    """
    charts = []
    for name, curve in curves.items():
        color = 1 if curve.worse_than_linear else 0
        linear = [curve.seconds[-1] * size / curve.sizes[-1] for size in curve.sizes]
        charts.append(
            LineChart(
                f"{name}: {curve.exponent:.2f} ± {curve.error:.2f}",
                curve.axis,
                "s",
                [
                    Series("", curve.sizes, curve.seconds, "both", color=color),
                    Series("", curve.sizes, linear, "dashed", color=color),
                ],
                x_scale="log",
                y_scale="log",
            )
        )
    return save_line_charts(charts, path, columns=COLUMNS)
