"""What the commands of `hh-eval` share: options, folders of audio, provenance, printed figures."""

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from eval.files import read_json_lines
from eval.metrics.wer import NORMALIZERS
from eval.reporting.line_chart import number_text
from eval.scoring.score import Pair
from eval.sound import SUFFIXES

# What `ArgumentParser.add_subparsers` returns; argparse has no public name for it.
Commands = Any


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    examples: str,
    description: str | None = None,
) -> argparse.ArgumentParser:
    """Adds a command with `--json` and examples under its help; `run` returns the exit status."""
    command = commands.add_parser(
        name,
        help=summary,
        description=description or summary,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=run)
    return command


def add_metric_options(command: argparse.ArgumentParser) -> None:
    """Adds --metrics, --weight and --skip-unavailable, for `registry.select_metrics`."""
    command.add_argument(
        "--metrics",
        metavar="NAMES",
        help="comma-separated names of hh-eval doctor; 'default' for the default set, -NAME to "
        "drop one (default: all that apply)",
    )
    command.add_argument(
        "--weight",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="where weights are that no wheel carries; or HH_WEIGHT_NAME=PATH in the environment",
    )
    command.add_argument(
        "--skip-unavailable",
        action="store_true",
        help="leave out metrics that cannot run, naming them in run.json",
    )


def add_scoring_options(command: argparse.ArgumentParser, normalizer: str) -> None:
    """Adds what commands that recognise and score share; `normalizer` is their default."""
    command.add_argument("--words", help="recognise only these: 'digits' or a comma-separated list")
    command.add_argument(
        "--normalizer",
        choices=sorted(NORMALIZERS),
        default=normalizer,
        help=f"of texts (default: {normalizer})",
    )
    command.add_argument("--workers", type=int, default=0, help="processes beside this one")
    command.add_argument("--seed", type=int, default=0, help="seed of the intervals")


def say_skipped(skipped: Mapping[str, Sequence[str]]) -> None:
    """Names the metrics that were left out, and why, on standard error."""
    for name, reasons in skipped.items():
        print(f"hh-eval: left out {name}: {'; '.join(reasons)}", file=sys.stderr)


def folder_pairs(ref_dir: Path, hyp_dir: Path, texts: dict[str, str]) -> list[Pair]:
    """Pairs of two folders; a recording without a decoded file stays in, to be counted as failed.

    The folder a recording lies in, below REF_DIR, names its speaker.

    Raises:
        ValueError: A folder that is none or holds no audio, or two files of one name.
    """
    references, estimates = audio_files(ref_dir), audio_files(hyp_dir)
    unmatched = sorted(set(estimates) - set(references))
    if unmatched:
        print(
            f"hh-eval: {len(unmatched)} files of {hyp_dir} have no recording and are not scored: "
            f"{', '.join(unmatched[:5])}",
            file=sys.stderr,
        )
    return [
        Pair(
            name,
            path,
            estimates.get(name, hyp_dir / f"{name}.wav"),
            texts.get(name, ""),
            Path(name).parent.name,
        )
        for name, path in references.items()
    ]


def audio_files(folder: Path) -> dict[str, Path]:
    """Audio files by their path below the folder without suffix, sorted.

    Raises:
        ValueError: No folder, no audio in it, or two files of one name.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder with audio files, got {folder}")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise ValueError(f"expected one file for {name!r}, got {found[name]} and {path}")
            found[name] = path
    if not found:
        raise ValueError(f"expected audio files ({', '.join(SUFFIXES)}) in {folder}, got none")
    return found


def read_texts(path: Path | None) -> dict[str, str]:
    """Transcripts by id from a JSON-lines file of {"id", "text"}; {} without a file.

    Raises:
        ValueError: No such file, or a line that is no JSON object.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise ValueError(f"expected a JSON-lines file with texts, got {path}")
    return {str(row["id"]): str(row["text"]) for row in read_json_lines(path) if "text" in row}


def provenance() -> dict[str, str]:
    """Command, machine and time, for a report."""
    return {
        "command": shlex.join(["hh-eval", *sys.argv[1:]]),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def print_summary(summary: dict[str, Any], page: Path, *, as_json: bool) -> None:
    """The figures of a summary and where its report is, on standard output."""
    if as_json:
        print(json.dumps({**summary, "report": str(page)}, allow_nan=False))
        return
    for metric_id, metric in summary["metrics"].items():
        for name, figure in metric["figures"].items():
            unit = figure["unit"]
            ends = figure["ci95"] or ()
            value = "-" if figure["value"] is None else number_text(figure["value"], unit=unit)
            interval = f"[{', '.join(number_text(end, unit=unit) for end in ends)}]"
            done = f"{figure['n_ok']}/{figure['n_expected']}"
            print(f"{metric_id:34} {name:18} {value:>12} {interval:>26} {done:>9}")
        for name, value in metric.get("corpus", {}).items():
            print(f"{metric_id:34} {name:18} {_corpus_text(value)}")
    print(page)


def _corpus_text(value: Any) -> str:
    """A figure of the whole corpus in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_corpus_text(each)}" for name, each in value.items())
    return "-" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)
