"""Record of results of the code, and a check that later code computes the same, bit for bit.

    python -m benchmarks.parity record before.json --keep before   # before a re-structuring
    python -m benchmarks.parity check before.json --kept before    # after it

Codes and samples of ten clips, speech of the shipped models by every engine of a CPU, and twenty
steps of every trainer, on one thread. With `--keep` the half-finished runs, the token stores and
the models of the earlier code are kept, and `--kept` continues and loads them. Digests hold for one
kind of processor and one torch: record and check on the same machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from codec.command_line import DONE, FAILED, HelpFormatter, exit_status
from codec.error_text import message_of, reason_of
from codec.files import read_json, write_json
from codec.provenance import cpu_model, git_commit, package_versions, utc_time
from codec.runtime.processes import THREAD_VARIABLES

Results = Mapping[str, str]
FORMAT = "parity 1"
# Prefix of the names of results of a run's saved models; the others are of its training.
MODEL = "model "
PACKAGES = ("torch", "numpy", "scipy", "lightning", "soundfile", "soxr", "x-transformers")
HEX_FLOAT = re.compile(r"-?0x[01]\.[0-9a-f]+p[+-]\d+")
# Properties that change no digest by themselves, so that a check does not warn of them.
HARMLESS = ("commit", "recorded")


@dataclass(frozen=True)
class PartReport:
    """One part of a check."""

    name: str  # of the part
    compared: int  # values recorded of it
    # A sentence for each value that is not the recorded one; names come first.
    differences: tuple[str, ...]
    seconds: float  # of computing the part again


def main(argv: Sequence[str] | None = None) -> int:
    """Record or check.

    Returns:
        0 when recorded, or all the same; 1 when something differs; 2 when the call was wrong.
    """
    arguments = _parser().parse_args(argv)
    # Read by numerical libraries when they are loaded, which happens below.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    work = _record if arguments.command == "record" else _check
    return exit_status(lambda: work(arguments))


def compare(expected: Results, got: Results) -> tuple[str, ...]:
    """Describe every value that differs, is missing or is new, a sentence each.

    Args:
        expected: Recorded values by name.
        got: Values computed now.
    """
    names = dict.fromkeys([*expected, *got])
    return tuple(
        f"{name}: expected {_shown(expected.get(name))}, got {_shown(got.get(name))}"
        for name in names
        if expected.get(name) != got.get(name)
    )


def _shown(value: str | None) -> str:
    """A value in a sentence; a hexadecimal float with its decimal digits, too."""
    if value is None:
        return "nothing"
    return f"{value} ({float.fromhex(value):.9g})" if HEX_FLOAT.fullmatch(value) else value


def selected(results: Results, prefix: str, wanted: bool = True) -> dict[str, str]:
    """Select the values whose names begin with `prefix`, or those whose names do not."""
    return {name: results[name] for name in results if name.startswith(prefix) == wanted}


def table(reports: Sequence[PartReport]) -> str:
    """Lay out a line a part: values compared, values that differ, seconds."""
    width = max([len("part"), *(len(each.name) for each in reports)])
    lines = [f"{'part':<{width}}  {'values':>7}  {'differ':>7}  {'seconds':>7}"]
    for each in reports:
        counts = f"{each.compared:>7}  {len(each.differences):>7}  {each.seconds:>7.1f}"
        lines.append(f"{each.name:<{width}}  {counts}")
    return "\n".join(lines)


def report(name: str, expected: Results, make: Callable[[], Results]) -> PartReport:
    """Compute a part again and compare; an exception is its only difference, and is printed.

    Args:
        name: Of the part.
        expected: Its recorded values by name.
        make: Computes them.
    """
    _say(f"{name} ...")
    begun = time.perf_counter()
    try:
        differences = compare(expected, make())
    except Exception as error:  # of whatever kind: the other parts are still to be compared
        traceback.print_exc()
        what = f"{type(error).__name__}: {' '.join(message_of(error).split())}"
        differences = (f"all of it: expected {len(expected)} values, got {what}",)
    return PartReport(name, len(expected), differences, time.perf_counter() - begun)


def write_record(path: Path, about: Mapping[str, Any], parts: Mapping[str, Results]) -> None:
    """Write a record as JSON, whole or not at all."""
    write_json(path, {"format": FORMAT, "about": about, "parts": parts}, indent=1)


def read_record(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Read a record: the machine, and results by part.

    Raises:
        ValueError: The file is missing or not a record.
    """
    try:
        record = read_json(path)
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']!r}")
        return record["about"], record["parts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"expected a record of format {FORMAT!r} at {path}: {reason_of(error, path)}"
        ) from error


def notices(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Describe differences of machine and versions, which may change bits by themselves."""
    return [
        f"{name}: recorded with {value}, here {now.get(name)}"
        for name, value in before.items()
        if name not in HARMLESS and value != now.get(name)
    ]


def _record(arguments: argparse.Namespace) -> int:
    """Compute every part once, keep runs to be continued, write the record."""
    from .parity_inputs import make_workspace
    from .parity_parts import PARTS, keep

    kept = None if arguments.keep is None else Path(arguments.keep)
    if kept is not None and kept.exists():
        raise ValueError(f"expected --keep of a folder that is not there, got {kept}")
    about, parts, reports = _about(arguments.audio), {}, []
    names = _chosen(arguments.only, list(PARTS))
    with tempfile.TemporaryDirectory() as folder:
        space = make_workspace(Path(folder), arguments.audio)
        for name in names:
            _say(f"{name} ...")
            begun = time.perf_counter()
            parts[name] = PARTS[name](space)
            seconds = time.perf_counter() - begun
            reports.append(PartReport(name, len(parts[name]), (), seconds))
        if kept is not None:
            _say(f"half-finished runs and models in {kept} ...")
            keep(space, kept)
    write_record(Path(arguments.file), about, parts)
    print(table(reports))
    _say(f"written: {arguments.file}")
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    """Compute recorded parts again and compare; returns the exit status."""
    from .parity_inputs import make_workspace
    from .parity_parts import PARTS

    about, parts = read_record(Path(arguments.file))
    parts = {name: parts[name] for name in _chosen(arguments.only, list(parts))}
    audio = arguments.audio or about["audio"]
    for text in notices(about, _about(audio)):
        _say(text)
    with tempfile.TemporaryDirectory() as folder:
        space = make_workspace(Path(folder), audio)
        reports = [
            report(name, expected, lambda name=name: PARTS[name](space))
            for name, expected in parts.items()
        ]
        if arguments.kept is not None:
            reports += _kept_reports(Path(arguments.kept), Path(folder) / "kept", parts)
    print(table(reports))
    for each in reports:
        for sentence in each.differences:
            print(f"differs: {each.name}: {sentence}")
    return FAILED if any(each.differences for each in reports) else DONE


def _kept_reports(kept: Path, copy: Path, parts: Mapping[str, Results]) -> Iterator[PartReport]:
    """Continue kept runs in a copy and compare them with those that were never cut off."""
    from .parity_inputs import CUTS, RUNS
    from .parity_parts import STEPS, continued_part, copy_kept, model_part

    space = copy_kept(kept, copy)
    for name, cut in CUTS.items():
        if cut.run in parts:
            # A run that was begun anew would end alike, but after more steps.
            expected = selected(parts[cut.run], MODEL, False) | {STEPS: str(cut.left)}
            yield report(f"continued {name}", expected, partial(continued_part, space, name))
    for run in RUNS:
        if run in parts:
            expected = selected(parts[run], MODEL)
            yield report(f"loaded {run}", expected, partial(model_part, space, run))


def _chosen(only: Sequence[str] | None, known: Sequence[str]) -> Sequence[str]:
    """The parts of `--only`, or all that are known."""
    unknown = sorted({*(only or ())} - {*known})
    if unknown:
        raise ValueError(f"expected parts of {', '.join(known)}, got {', '.join(unknown)}")
    return only or known


def _about(audio: str | None) -> dict[str, Any]:
    """The machine and the versions, the commit and the clips' folder."""
    return {
        "recorded": utc_time(),
        "commit": git_commit(),
        "audio": audio,
        "cpu": cpu_model(),
        "python": platform.python_version(),
        **package_versions(PACKAGES),
    }


def _say(message: str) -> None:
    print(f"[parity] {message}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parity", description=__doc__, formatter_class=HelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("record", "compute and write"), ("check", "compute and compare")):
        command = commands.add_parser(name, help=text)
        command.add_argument("file", metavar="FILE.json")
        command.add_argument(
            "--audio", metavar="FOLDER", help="recordings in place of synthetic clips"
        )
        command.add_argument("--only", nargs="+", metavar="PART", help="these parts only")
    commands.choices["record"].add_argument(
        "--keep", metavar="FOLDER", help="also leave half-finished runs and models in this folder"
    )
    commands.choices["check"].add_argument(
        "--kept", metavar="FOLDER", help="also continue and load what `record --keep` left"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
