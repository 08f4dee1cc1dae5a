"""`hh-slm normalize`: texts as they are spoken, before anything is spoken."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from codec.command_line import DONE, Commands, add_command, print_report
from codec.files.json_lines import read_lines
from slm.text.characters import unspoken
from slm.text.languages import language_code
from slm.text.normalization import normalize_text


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "normalize",
        run,
        summary="show texts as they are spoken: numbers, signs in words",
        examples='example:\n  hh-slm normalize "Dr. Smith paid $5.20 at 3:45 p.m."',
    )
    add = command.add_argument
    add("text", nargs="*", help="texts; - or none reads lines from stdin")
    add("--file", help="texts, one a line")
    add("--language", default="en", help="of the texts, as manifests spell it (en)")


def run(arguments: argparse.Namespace) -> int:
    """Print each text as it is spoken, one a line; what is left out is named on stderr.

    Raises:
        ValueError: Texts and a file at once, or no code of a language.
    """
    if arguments.file is not None and arguments.text:
        raise ValueError("expected texts or --file, got both")
    language_code(arguments.language)
    rows = []
    for text in _texts(arguments):
        spoken, left_out = normalize_text(text, arguments.language), unspoken(text)
        rows.append({"text": text, "spoken": spoken, "left_out": left_out})
        if not arguments.json:
            print(spoken)
        if left_out:
            print(f"warning: no words for {left_out!r} of {text!r:.80}", file=sys.stderr)
    if arguments.json:
        print_report({"texts": rows}, as_json=True)
    return DONE


def _texts(arguments: argparse.Namespace) -> Iterable[str]:
    if arguments.file is not None:
        return [line for _, line in read_lines(arguments.file)]
    if arguments.text in ([], ["-"]):
        if sys.stdin is None:
            raise OSError("expected an open standard input, got a closed one")
        return (line.rstrip("\n") for line in sys.stdin)
    return arguments.text
