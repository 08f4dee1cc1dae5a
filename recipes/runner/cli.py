"""The command line that every stage and `run_all` share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from .config import Config, load_config
from .stages import STAGES, StageReport, run_stage


def stage_command(name: str, argv: Sequence[str] | None = None) -> int:
    """Run one stage from the command line, `python -m recipes.<name> config.yaml key=value ...`.

    Returns:
        Exit status: 0 when done, 1 when the disk or the system failed, 2 for the caller's mistake.
    """
    parser = make_parser(f"python -m recipes.{name}", STAGES[name].summary)
    return run_command(parser, argv, lambda config: [run_stage(config, name)])


def make_parser(
    program: str, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """The arguments: a YAML file, overrides, `--json`, `--debug`."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="YAML file, such as recipes/configs/mini.yaml")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="override a setting by its dotted key, such as prepare.limit=100",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None, work: Any) -> int:
    """Parse, load the settings, do `work(config) -> list[StageReport]`, print what came of it."""
    arguments = parser.parse_intermixed_args(argv)
    try:
        config = load_config(arguments.config, arguments.overrides)
        reports = work(config)
    except (ValueError, OSError) as error:
        if arguments.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print_reports(config, reports, as_json=arguments.json)
    return 0


def print_reports(config: Config, reports: Sequence[StageReport], *, as_json: bool) -> None:
    """The stages' figures on stdout, as a table or as one JSON object."""
    if as_json:
        stages = {
            report.name: {
                "status": report.status,
                "folder": str(report.folder),
                "seconds": report.seconds,
                "metrics": report.metrics,
            }
            for report in reports
        }
        print(json.dumps({"run": config.run, "stages": stages}, ensure_ascii=False))
        return
    for report in reports:
        print(f"{report.name:<14} {report.status:<8} {report.seconds:>9.1f} s  {report.folder}")
        for name, value in _scalars("", report.metrics):
            print(f"    {name:<44} {value}")


def _scalars(prefix: str, metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """Figures by dotted name; lists are left to `--json`."""
    rows: list[tuple[str, str]] = []
    for name, value in metrics.items():
        if isinstance(value, dict):
            rows += _scalars(f"{prefix}{name}.", value)
        elif isinstance(value, float):
            rows.append((prefix + name, f"{value:.4g}"))
        elif not isinstance(value, list):
            rows.append((prefix + name, str(value)))
    return rows
