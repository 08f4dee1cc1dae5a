"""Run every benchmark, and fail where a ratio fell by more than a third.

python -m benchmarks.run --suite small --check
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codec.command_line import DONE, FAILED, HelpFormatter, exit_status
from codec.provenance import command_line
from codec.runtime.processes import THREAD_VARIABLES

if TYPE_CHECKING:
    from .harness.records import Record

EXAMPLES = """Every figure is a ratio: the speed of ours over that of another that ran in the same
turns. Higher is better. One thread by default, timed by CPU seconds.

examples:
  python -m benchmarks.run                           # the full suite, some minutes
  python -m benchmarks.run --suite small --check     # what CI runs: status 1 where a ratio fell
  python -m benchmarks.run --only codec lm.generation
  python -m benchmarks.run --suite small --update    # new committed results of this processor
  python -m benchmarks.table                 # docs/reports/benchmarks.md from what is committed
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write and compare.

    Returns:
        Exit status: 0 when all went well; 1 when a ratio fell, or the system failed; 2 for a wrong
        call.
    """
    arguments = _parser().parse_args(argv)
    # Read by numerical libraries when they are loaded, which happens below.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(arguments.threads)))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return exit_status(lambda: _list(arguments) if arguments.list else _run(arguments, argv))


def _run(arguments: argparse.Namespace, argv: Sequence[str] | None) -> int:
    """Measure a suite; returns the exit status."""
    from .cases.registry import chosen
    from .harness.machine import describe
    from .harness.measure import Session
    from .harness.records import write_records
    from .regression import changes, find_baseline, not_compared, settle
    from .table import markdown

    if arguments.update and (arguments.only or arguments.check):
        raise ValueError("expected --update alone: with --only results would be lost")
    benchmarks, curves = chosen(arguments.suite, arguments.only)
    session = Session(arguments.suite, benchmarks, curves, arguments.threads, _say)
    baseline = None
    # Before anything is measured: without results to compare with the time would be lost.
    if arguments.check:
        cpu, folder = describe()["cpu"], Path(arguments.results)
        baseline = find_baseline(folder, arguments.suite, cpu, arguments.threads)
        _say(
            f"no results are of this processor, {cpu}: nothing is compared, --update makes them"
            if baseline is None
            else f"compared with {baseline.path}, of this processor, {cpu}"
        )
    record = session.run(command_line("python -m benchmarks.run", argv))
    fallen: dict[str, str] = {}
    if baseline is not None:
        record, fallen = settle(record, baseline, session.again)
    path = Path(arguments.out) / f"{arguments.suite}.json"
    write_records(path, {arguments.suite: record})
    print(markdown(record, changes(record, baseline) if baseline else None))
    _say(f"written: {path}")
    if arguments.update:
        _update(Path(arguments.results), record)
    for name, reason in record.skipped.items():
        _say(f"skipped: {name}: {reason}")
    if baseline is not None:
        for name in [] if arguments.only else not_compared(record, baseline):
            _say(f"not compared, as only one side has it: {name}")
        for sentence in fallen.values():
            print(f"fell: {sentence}", file=sys.stderr)
        _say(f"{len(fallen)} of {len(record.figures) + len(record.curves)} fell")
    return FAILED if fallen else DONE


def _update(folder: Path, record: Record) -> None:
    """Replace the committed record of this processor and suite."""
    from .harness.machine import file_name
    from .harness.records import read_records, write_records

    path = folder / file_name(record.cpu)
    records = read_records(path) if path.exists() else {}
    write_records(path, records | {record.suite: record})
    _say(f"written: {path}; python -m benchmarks.table puts it into docs/reports/benchmarks.md")


def _list(arguments: argparse.Namespace) -> int:
    """Print the figures and curves of a suite."""
    from .cases.registry import chosen

    benchmarks, curves = chosen(arguments.suite, arguments.only)
    for benchmark in benchmarks:
        print(f"{benchmark.name}: {benchmark.about}")
        for figure in benchmark.of_size(arguments.suite).values():
            print(f"    {figure.ours} / {figure.other}: {figure.meaning}")
    for curve in curves:
        points = ", ".join(f"{point:g}" for point in curve.points[arguments.suite])
        print(f"{curve.name}: {curve.about}; {points} {curve.axis}")
    return 0


def _say(text: str) -> None:
    print(f"[benchmarks] {text}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.run",
        description="Speed beside other software, as ratios that hold on any machine.",
        epilog=EXAMPLES,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--suite", choices=("small", "full"), default="full", help="to run")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="such as codec")
    parser.add_argument("--list", action="store_true", help="print the suite's figures, and stop")
    parser.add_argument(
        "--check", action="store_true", help="compare with committed results; 1 where one fell"
    )
    parser.add_argument(
        "--update", action="store_true", help="write the committed results of this processor"
    )
    parser.add_argument("--threads", type=int, default=1, help="above 1 wall time is counted")
    parser.add_argument("--out", default="runs/benchmarks", metavar="FOLDER", help="for results")
    parser.add_argument(
        "--results", default="benchmarks/results", metavar="FOLDER", help="committed results"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
