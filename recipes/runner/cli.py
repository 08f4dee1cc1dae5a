"""The command line that every stage and `run_all` share."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from codec.command_line import DONE, HelpFormatter, ShowVersion, exit_status

from .config import Config, load_config
from .dry_run import show_plan
from .settings_list import ShowSettings
from .stages import STAGES, StageReport, run_stage


def stage_command(name: str, argv: Sequence[str] | None = None) -> int:
    """Run one stage from the command line, `python -m recipes.<name> config.yaml key=value ...`.

    Returns:
        Exit status: 0 when done, 1 when work failed, 2 for a wrong call.
    """
    stage = STAGES[name]
    parser = make_parser(
        f"python -m recipes.{name}", stage.summary, schema=Config, sections=stage.settings
    )
    return run_command(
        parser, argv, lambda config: [name], lambda config: [run_stage(config, name)]
    )


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
    program: str,
    description: str | None,
    epilog: str | None = None,
    *,
    schema: type,
    sections: Sequence[str] | None = None,
) -> argparse.ArgumentParser:
    """Build the parser of a command with settings: `plain_parser`, a YAML file, overrides.

    Args:
        program: As it is called.
        description: Above the options.
        epilog: Below them.
        schema: Dataclass of the settings, which `--settings` lists.
        sections: Of its sections those that the command reads; None for all.
    """
    parser = plain_parser(program, description, epilog)
    parser.add_argument("--settings", action=ShowSettings, schema=schema, sections=sections)
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
    stages: Callable[[Config], Sequence[str]],
    work: Callable[[Config], list[StageReport]],
) -> int:
    """Parse, load the settings, work, print the reports; returns the exit status.

    Args:
        parser: Of `make_parser`.
        argv: The call's words; None for the process's.
        stages: Names the stages that the settings ask for.
        work: Runs them.
    """
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the merged settings, what each stage would do and what is missing; start "
        "nothing",
    )
    # Options may stand before, between and after the overrides.
    arguments = parser.parse_intermixed_args(argv)

    def run() -> int:
        config = load_config(arguments.config, arguments.overrides)
        if arguments.dry_run:
            return show_plan(config, stages(config), as_json=arguments.json)
        print_reports(config, work(config), as_json=arguments.json)
        return DONE

    # Whatever was interrupted, the same command goes on with it.
    words = sys.argv[1:] if argv is None else argv
    return exit_status(run, debug=arguments.debug, again=f"{parser.prog} {shlex.join(words)}")


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
