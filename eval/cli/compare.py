"""`hh-eval compare`: paired differences of two scored folders."""

from __future__ import annotations

import argparse
from pathlib import Path

from codec.command_line import Commands, add_command, print_report, whole_number
from codec.files import write_text
from eval.metrics.registry import split_names
from eval.scoring.compare import compare_folders

EXAMPLES = """examples:
  hh-eval compare scores/mini scores/opus_6
  hh-eval compare scores/mini scores/opus_6 --metrics stoi,pitch --out mini_vs_opus.md --json
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "compare",
        run,
        summary="paired differences of two scored folders, with wins and losses",
        description="Both must hold scores of the same recordings by the same metric ids. Exits "
        "with 1 when an item has no figure in one of them.",
        examples=EXAMPLES,
    )
    command.add_argument("ours", type=Path, metavar="A", help="scored folder (`hh-eval codec`)")
    command.add_argument("theirs", type=Path, metavar="B", help="scored folder to compare with")
    command.add_argument("--metrics", help="only these, by commas (default: all, the same in both)")
    command.add_argument("--out", type=Path, help="write the table as Markdown, too")
    command.add_argument("--seed", type=whole_number(0), default=0, help="seed of the intervals")


def run(arguments: argparse.Namespace) -> int:
    """Print the table of differences."""
    wanted = None if arguments.metrics is None else split_names(arguments.metrics)
    result = compare_folders(arguments.ours, arguments.theirs, metrics=wanted, seed=arguments.seed)
    if arguments.out:
        write_text(arguments.out, result.to_markdown())
    if arguments.json:
        print_report(result.to_dict(), as_json=True)
    else:
        print(result.to_markdown())
    return 1 if result.missing else 0
