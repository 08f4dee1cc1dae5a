"""Run every benchmark, and fail where a ratio fell by more than a third.

python -m benchmarks.run --suite small --check
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from codec.processes import THREAD_VARIABLES

if TYPE_CHECKING:
    from benchmarks.harness.records import Record

    from .regression import Baseline

EXAMPLES = """Every figure is a ratio: how many times as fast ours is as what ran beside it in the
same turns. Higher is better. One thread by default, timed by the processor's own seconds.

examples:
  python -m benchmarks.run                           # the full suite, some minutes
  python -m benchmarks.run --suite small --check     # what CI runs: status 1 where a ratio fell
  python -m benchmarks.run --only codec lm.generation
  python -m benchmarks.run --suite small --update    # new committed results of this processor
  python -m benchmarks.table                 # docs/reports/benchmarks.md from what is committed
"""
OUT = "runs/benchmarks"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write and compare.

    Returns:
        0 when all went well; 1 when a ratio fell, or the system failed; 2 when the call was wrong.
    """
    arguments = _parser().parse_args(argv)
    # Read by numerical libraries when they are loaded, which happens below.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(arguments.threads)))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        return _list(arguments) if arguments.list else _run(arguments, argv)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def _run(arguments: argparse.Namespace, argv: Sequence[str] | None) -> int:
    """What the call asks for; returns the exit status."""
    from benchmarks.harness.machine import describe
    from benchmarks.harness.records import write_records
    from benchmarks.harness.session import open_session

    from .regression import changes, find_baseline, settle
    from .table import markdown

    if arguments.update and (arguments.only or arguments.check):
        raise ValueError("expected --update alone: with --only results would be lost")
    session = open_session(arguments.suite, arguments.only, arguments.threads, _say)
    baseline = None
    if arguments.check:
        cpu = describe()["cpu"]
        folder = Path(arguments.results)
        baseline = find_baseline(folder, arguments.suite, cpu, arguments.threads)
        _say(f"compared with {baseline.path}: {baseline.note}")
    words = sys.argv[1:] if argv is None else argv
    record = session.run(f"python -m benchmarks.run {shlex.join(words)}".strip())
    fallen: dict[str, str] = {}
    if baseline is not None:
        record, fallen = settle(record, baseline, session.again)
    path = Path(arguments.out) / f"{arguments.suite}.json"
    write_records(path, {arguments.suite: record})
    text = markdown(record, changes(record, baseline) if baseline else None)
    print(text)
    _say(f"written: {path}")
    if arguments.update:
        _update(Path(arguments.results), record)
    return _verdict(arguments, record, baseline, fallen)


def _verdict(
    arguments: argparse.Namespace,
    record: Record,
    baseline: Baseline | None,
    fallen: dict[str, str],
) -> int:
    """Say on stderr what was left out and what fell."""
    from .regression import not_compared

    for name, reason in record.skipped.items():
        _say(f"skipped: {name}: {reason}")
    if baseline is None:
        return 0
    if not arguments.only:
        for name in not_compared(record, baseline):
            _say(f"not compared, as only one side has it: {name}")
    for sentence in fallen.values():
        print(f"fell: {sentence}", file=sys.stderr)
    _say(f"{len(fallen)} of {len(record.figures) + len(record.curves)} fell")
    return 1 if fallen else 0


def _update(folder: Path, record: Record) -> None:
    """Put a record in the place of the one of its processor and suite."""
    from benchmarks.harness.machine import file_name
    from benchmarks.harness.records import read_records, write_records

    path = folder / file_name(record.cpu)
    records = read_records(path) if path.exists() else {}
    write_records(path, records | {record.suite: record})
    _say(f"written: {path}; python -m benchmarks.table puts it into docs/reports/benchmarks.md")


def _list(arguments: argparse.Namespace) -> int:
    """Print what a suite holds."""
    from benchmarks.cases.registry import chosen

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
    """Every option."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.run",
        description="Speed of everything beside others, as ratios that hold on any machine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", choices=("small", "full"), default="full", help="default: full")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="such as codec")
    parser.add_argument("--list", action="store_true", help="print what the suite holds, and stop")
    parser.add_argument(
        "--check", action="store_true", help="compare with committed results; 1 where one fell"
    )
    parser.add_argument(
        "--update", action="store_true", help="write the committed results of this processor"
    )
    parser.add_argument("--threads", type=int, default=1, help="1, or more timed by the wall clock")
    parser.add_argument("--out", default=OUT, metavar="FOLDER", help=f"default: {OUT}")
    parser.add_argument(
        "--results", default="benchmarks/results", metavar="FOLDER", help="committed results"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
