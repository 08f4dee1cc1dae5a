"""Results as Markdown and PNG, in docs/reports/benchmarks.md between its markers.

python -m benchmarks.table
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from codec.command_line import DONE, HelpFormatter, exit_status
from codec.files import write_text
from eval.reporting.line_chart import LineChart, Series, save_line_charts
from recipes.runner.markdown import table_lines

from .cases.registry import BENCHMARKS, CURVES
from .harness.benchmark import SUITES
from .harness.records import RESULTS, CurveResult, Record, read_records

PAGE = Path("docs/reports/benchmarks.md")
PICTURE = Path("docs/images/benchmarks.png")
START = "<!-- python -m benchmarks.table writes from here -->"
END = "<!-- to here -->"


def markdown(record: Record, changed: Mapping[str, float] | None = None) -> str:
    """Lay out a record as tables.

    Args:
        record: Results of a suite.
        changed: Ratio now over the committed one, by key; None leaves the column out.
    """
    parts = [_origin(record)]
    for benchmark in BENCHMARKS.values():
        found = [
            (key, figure)
            for key, figure in benchmark.of_size(record.suite).items()
            if key in record.figures
        ]
        if not found:
            continue
        head = ["ours", "beside", "times as fast", "quartiles", f"{benchmark.unit} a second"]
        rows = []
        for key, figure in found:
            now = record.figures[key]
            # Medians of paired runs and their quartiles.
            row = [figure.ours, figure.other, f"**{_short(now.ratio)}**"]
            row.append(f"{_short(now.low)} to {_short(now.high)}")
            row.append(f"{_short(now.ours_rate)}, {_short(now.other_rate)}")
            if changed is not None:
                row.append(f"{changed[key]:.2f}" if key in changed else "new")
            rows.append([*row, figure.meaning])
        head += ["of the committed"] if changed is not None else []
        lines = table_lines([*head, "meaning"], rows)
        parts.append("\n".join([f"**{benchmark.name}**: {benchmark.about}", "", *lines]))
    if record.curves:
        parts.append(_curves(record))
    if record.skipped:
        lines = [f"- {name}: {reason}" for name, reason in record.skipped.items()]
        parts.append("Not measured:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def page_section(folder: Path = RESULTS) -> str:
    """Lay out the suites of the latest results, and name the files of other processors.

    Raises:
        ValueError: No results in the folder, or a file that holds none.
    """
    files = {path: read_records(path) for path in sorted(folder.glob("*.json"))}
    if not files:
        raise ValueError(f"expected benchmark results in {folder}, found none")
    # By the newest of its suites: a file holds those of one processor.
    latest = max(files, key=lambda path: max(each.date for each in files[path].values()))
    parts = []
    for suite in reversed(SUITES):
        if suite in files[latest]:
            parts.append(f"## The {suite} suite\n\n{markdown(files[latest][suite])}")
    others = [f"`{path.name}`" for path in files if path != latest]
    if others:
        parts.append(f"Other processors: {', '.join(others)} in `benchmarks/results/`.")
    return "\n\n".join(parts)


def replace_section(page: str, section: str) -> str:
    """Replace the section between the markers of a page.

    Raises:
        ValueError: The page does not have one pair of markers.
    """
    if page.count(START) != 1 or page.count(END) != 1 or page.index(START) > page.index(END):
        raise ValueError(f"expected {START!r} and then {END!r}, each once, in the page")
    head, rest = page.split(START)
    return f"{head}{START}\n\n{section}\n\n{END}{rest.split(END)[1]}"


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite the section of the page and the picture; returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.table",
        description="Write the committed results, and their picture, into docs/reports.",
        epilog="example:\n  python -m benchmarks.table",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown with markers")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="PNG to write")
    arguments = parser.parse_args(argv)

    def work() -> int:
        page = arguments.page.read_text(encoding="utf-8")
        write_text(arguments.page, replace_section(page, page_section(arguments.results)))
        print(arguments.page, draw_latest(arguments.results, arguments.picture), sep="\n")
        return DONE

    return exit_status(work)


def draw_latest(folder: Path, path: Path) -> Path:
    """Draw the curves of the latest results of the largest suite that has some.

    Raises:
        ValueError: No results have curves.
    """
    found = [
        (SUITES.index(suite), record.date, record.curves)
        for file in folder.glob("*.json")
        for suite, record in read_records(file).items()
        if record.curves and suite in SUITES
    ]
    if not found:
        raise ValueError(f"expected results with cost curves in {folder}, found none")
    # The largest suite first, then the latest date.
    return draw_curves(max(found, key=lambda each: each[:2])[2], path)


def draw_curves(curves: Mapping[str, CurveResult], path: Path) -> Path:
    """Draw time against size on log axes, a chart a curve beside a dashed line of slope 1.

    Curves that are worse than linear are orange.

    Args:
        curves: By name, at least one.
        path: PNG to write, whole or not at all.
    """
    charts = []
    for name, curve in curves.items():
        # The second colour of the palette, orange.
        color = 1 if curve.worse_than_linear else 0
        # Through the last point, where the measurement is the surest.
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
    return save_line_charts(charts, path, columns=4)


def _origin(record: Record) -> str:
    """Command, date, commit and machine of a record, in a paragraph."""
    machine = record.machine
    packages = ", ".join(f"{name} {each}" for name, each in machine["packages"].items())
    return (
        f"`{record.command}`, {record.date}, commit `{(record.commit or 'none')[:7]}`"
        f"{' with changes' if (record.commit or '').endswith('-dirty') else ''}, "
        f"{record.wall_seconds:.0f} s. {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']:g} GB, {record.threads} thread"
        f"{'' if record.threads == 1 else 's'}, {record.clock} seconds; Python "
        f"{machine['python']}, {packages}."
    )


def _curves(record: Record) -> str:
    """The cost curves, one a row."""
    rows = []
    for name, curve in record.curves.items():
        flag = "**worse than linear**" if curve.worse_than_linear else "no worse than linear"
        span = f"{curve.sizes[0]:g} to {curve.sizes[-1]:g} {curve.axis}"
        times = f"{_short(curve.seconds[0])} to {_short(curve.seconds[-1])}"
        exponent = f"{curve.exponent:.2f} ± {curve.error:.2f}"
        about = CURVES[name].about if name in CURVES else ""
        rows.append([name, about, span, times, exponent, f"{curve.last:.2f}", flag])
    head = ["curve", "of", "from, to", "s", "exponent", "at the last step", ""]
    return "\n".join(["**Cost curves**", "", *table_lines(head, rows)])


def _short(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


if __name__ == "__main__":
    raise SystemExit(main())
