"""Cost curves as one PNG: time against size, both logarithmic, beside a line of slope 1."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness.benchmark import SUITES
from benchmarks.harness.records import CurveResult, read_records
from codec.files import whole_file

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
    """One small chart a curve; those worse than linear are red.

    Args:
        curves: By name, at least one.
        path: PNG to write, whole or not at all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = -(-len(curves) // COLUMNS)
    figure = Figure(figsize=(3.0 * COLUMNS, 2.5 * rows), dpi=80)
    FigureCanvasAgg(figure)
    for index, (name, curve) in enumerate(curves.items()):
        axes = figure.add_subplot(rows, COLUMNS, index + 1)
        color = "#b2182b" if curve.worse_than_linear else "#2166ac"
        axes.loglog(curve.sizes, curve.seconds, "o-", color=color, markersize=3, linewidth=1.3)
        linear = [curve.seconds[-1] * size / curve.sizes[-1] for size in curve.sizes]
        axes.loglog(curve.sizes, linear, ":", color="0.5", linewidth=1)
        exponent = f"{curve.exponent:.2f} ± {curve.error:.2f}"
        axes.set_title(f"{name}: {exponent}", loc="left", fontsize=8)
        axes.set_xlabel(curve.axis, fontsize=7)
        axes.set_ylabel("s", fontsize=7)
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.set_xticks(curve.sizes, [f"{size:g}" for size in curve.sizes])
        axes.tick_params(labelsize=6, length=2, pad=1)
        axes.grid(alpha=0.3, linewidth=0.5)
    figure.tight_layout(pad=0.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(buffer.getvalue())
    return path
