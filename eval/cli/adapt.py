"""`hh-eval adapt`: write table and curves of a tokenizer comparison again from its results."""

from __future__ import annotations

import argparse
from pathlib import Path

from codec.command_line import Commands, add_command, print_report
from eval.reporting.adaptability import read_results, render

EXAMPLES = """example:
  python -m recipes.comparisons.adapt recipes/configs/adapt.yaml corpus=../shared/digits \\
    run=runs/adapt
  hh-eval adapt runs/adapt
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "adapt",
        run,
        summary="table and curves of which tokenizer a language model learns best",
        description="Write adapt.md, adapt.json and adapt.png into a folder that "
        "recipes.comparisons.adapt made, from the tokenizers that are done.",
        examples=EXAMPLES,
    )
    command.add_argument(
        "folder", type=Path, metavar="RUN", help="folder of recipes.comparisons.adapt"
    )


def run(arguments: argparse.Namespace) -> int:
    """Render the folder and print the table."""
    rendered = render(arguments.folder)
    if arguments.json:
        results = read_results(arguments.folder)
        print_report({"page": str(rendered.page), "results": results}, as_json=True)
    else:
        print(rendered.markdown)
    return 0
