"""Table that a comparison ends with, and the command that makes and prints it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from codec.command_line import DONE, FAILED, exit_status
from recipes.runner.cli import make_parser
from recipes.runner.config import load_settings

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class ComparisonTable:
    """The table as Markdown and as plain figures."""

    markdown: str
    figures: dict[str, Any]

    def print(self, *, as_json: bool) -> None:
        """Print it on stdout, the figures as one JSON object."""
        print(json.dumps(self.figures) if as_json else self.markdown)


def comparison_command(
    program: str,
    description: str,
    schema: type[Settings],
    run: Callable[[Settings, Sequence[str] | None], ComparisonTable],
    argv: Sequence[str] | None,
) -> int:
    """Parse, load the settings, compare, print the table.

    Args:
        program: As it is called.
        description: Above the options.
        schema: Dataclass of the settings.
        run: Compares by them; gets the words of the call for the provenance. `failed` of its
            figures holds the clips or texts that failed.
        argv: The call's words; None for the process's.

    Returns:
        Exit status: 1 when a clip or a text failed.
    """
    parser = make_parser(program, description, schema=schema)
    arguments = parser.parse_intermixed_args(argv)

    def work() -> int:
        table = run(load_settings(schema, arguments.config, arguments.overrides), argv)
        table.print(as_json=arguments.json)
        return FAILED if table.figures["failed"] else DONE

    return exit_status(work, debug=arguments.debug)
