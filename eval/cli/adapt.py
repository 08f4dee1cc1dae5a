"""`hh-eval adapt`: table and curve of a tokenizer comparison, written again from its results."""

import argparse
import json
from pathlib import Path

from eval.reporting.adaptability import read_results, render

from .options import Commands, add_command

EXAMPLES = """example:
  python -m recipes.comparisons.adapt recipes/configs/adapt.yaml corpus=../shared/digits \\
    run=runs/adapt
  hh-eval adapt runs/adapt
"""


def add(commands: Commands) -> None:
    """Adds the command."""
    command = add_command(
        commands,
        "adapt",
        run,
        summary="table and curves of which tokenizer a language model learns best",
        description="Writes adapt.md, adapt.json and adapt.png into a folder that "
        "recipes.comparisons.adapt made, from the tokenizers that are done.",
        examples=EXAMPLES,
    )
    command.add_argument(
        "folder", type=Path, metavar="RUN", help="folder of recipes.comparisons.adapt"
    )


def run(arguments: argparse.Namespace) -> int:
    """Renders the folder and prints the table."""
    rendered = render(arguments.folder)
    if arguments.json:
        results = read_results(arguments.folder)
        print(json.dumps({"page": str(rendered.page), "results": results}, allow_nan=False))
    else:
        print(rendered.markdown)
    return 0
