"""The command line that every stage and `run_all` share."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from codec.command_line import DONE, HelpFormatter, ShowVersion, exit_status

from .config import Config, load_config
from .stages import STAGES, StageReport, run_stage


def stage_command(name: str, argv: Sequence[str] | None = None) -> int:
    """Run one stage from the command line, `python -m recipes.<name> config.yaml key=value ...`.

    Returns:
        Exit status: 0 when done, 1 when work failed, 2 for a wrong call.
    """
    parser = make_parser(f"python -m recipes.{name}", STAGES[name].summary)
    return run_command(parser, argv, lambda config: [run_stage(config, name)])


def plain_parser(
    program: str, description: str | None, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Build a parser with `--version`, `--json` and `--debug`."""
    parser = argparse.ArgumentParser(
        prog=program, description=description, epilog=epilog, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action=ShowVersion)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def make_parser(
    program: str, description: str | None, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Build the parser of a command with settings: `plain_parser`, a YAML file, overrides."""
    parser = plain_parser(program, description, epilog)
    parser.add_argument("config", help="YAML file, such as recipes/configs/mini.yaml")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="override a setting by its dotted key, such as prepare.limit=100",
    )
    return parser


def run_command(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    work: Callable[[Config], list[StageReport]],
) -> int:
    """Parse, load the settings, work, print the reports; returns the exit status."""
    # Options may stand before, between and after the overrides.
    arguments = parser.parse_intermixed_args(argv)

    def run() -> int:
        config = load_config(arguments.config, arguments.overrides)
        print_reports(config, work(config), as_json=arguments.json)
        return DONE

    return exit_status(run, debug=arguments.debug)


def print_reports(config: Config, reports: Sequence[StageReport], *, as_json: bool) -> None:
    """Print the figures of stages on stdout, as a table or as one JSON object."""
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
        elif not isinstance(value, list):
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            rows.append((prefix + name, shown))
    return rows
