"""Results as Markdown, and docs/reports/benchmarks.md between its markers.

python -m benchmarks.table
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.cases.registry import BENCHMARKS, CURVES
from benchmarks.harness.benchmark import SUITES
from benchmarks.harness.records import RESULTS, Record, read_records
from codec.files import write_text

PAGE = Path("docs/reports/benchmarks.md")
PICTURE = Path("docs/images/benchmarks.png")
START = "<!-- python -m benchmarks.table writes from here -->"
END = "<!-- to here -->"


def markdown(record: Record, changed: Mapping[str, float] | None = None) -> str:
    """A record as tables.

    Args:
        record: What was measured.
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
            is_now = record.figures[key]
            row = [figure.ours, figure.other, f"**{_short(is_now.ratio)}**"]
            row.append(f"{_short(is_now.low)} to {_short(is_now.high)}")
            row.append(f"{_short(is_now.ours_rate)}, {_short(is_now.other_rate)}")
            if changed is not None:
                row.append(f"{changed[key]:.2f}" if key in changed else "new")
            rows.append([*row, figure.meaning])
        head += ["of the committed"] if changed is not None else []
        title = f"**{benchmark.name}**: {benchmark.about}"
        parts.append(f"{title}\n\n{_table([*head, 'meaning'], rows)}")
    if record.curves:
        parts.append(_curves(record))
    if record.skipped:
        lines = [f"- {name}: {reason}" for name, reason in record.skipped.items()]
        parts.append("Not measured:\n\n" + "\n".join(lines))
    return "\n\n".join(parts)


def page_section(folder: Path = RESULTS) -> str:
    """What stands between the markers: the suites of the latest results, and where others are.

    Raises:
        ValueError: no results in the folder, or a file that holds none.
    """
    files = {path: read_records(path) for path in sorted(folder.glob("*.json"))}
    if not files:
        raise ValueError(f"expected benchmark results in {folder}, found none")
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
    """A page with the section between its markers.

    Raises:
        ValueError: the page has not one pair of markers.
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
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results")
    parser.add_argument("--page", type=Path, default=PAGE, help=f"default: {PAGE}")
    parser.add_argument("--picture", type=Path, default=PICTURE, help=f"default: {PICTURE}")
    arguments = parser.parse_args(argv)
    try:
        page = arguments.page.read_text(encoding="utf-8")
        write_text(arguments.page, replace_section(page, page_section(arguments.results)))
        from .picture import draw_latest

        print(arguments.page, draw_latest(arguments.results, arguments.picture), sep="\n")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0


def _origin(record: Record) -> str:
    """Where the figures come from, in a paragraph."""
    machine = record.machine
    packages = ", ".join(f"{name} {is_now}" for name, is_now in machine["packages"].items())
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
    return "**Cost curves**\n\n" + _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(value: float) -> str:
    """A number with three digits that count."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


if __name__ == "__main__":
    raise SystemExit(main())
