"""Command line of the codec: `hh-codec encode | decode | reconstruct | info`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  hh-codec encode speech.flac speech.safetensors --codec models/codec
  hh-codec decode speech.safetensors decoded.wav --codec models/codec
  hh-codec reconstruct recordings/ decoded/ --codec models/codec --resume
  hh-codec info --preset hh_24khz --json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when all went well; 1 when recordings could not be read or the disk refused; 2 when
        the call was wrong.
    """
    arguments = _parser().parse_args(argv)
    # torch takes seconds to load, for which --help and a misspelt option need not wait
    from .commands import COMMANDS

    try:
        report, status = COMMANDS[arguments.command](arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    for path, reason in report.get("failed", {}).items():
        print(f"failed: {path}: {reason}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        _print_table({name: value for name, value in report.items() if name != "failed"})
    return status


def _parser() -> argparse.ArgumentParser:
    """Commands and options."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "hh-codec",
        description="Speech to one stream of 24 Hz codes, and back.",
        epilog=EXAMPLES,
        formatter_class=raw,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, example: str) -> argparse.ArgumentParser:
        epilog = f"example:\n  hh-codec {name} {example}"
        return commands.add_parser(
            name, help=text.split(";")[0], description=text, epilog=epilog, formatter_class=raw
        )

    encode = command(
        "encode",
        "recording to code file; any rate and number of channels",
        "speech.flac speech.safetensors --codec models/codec",
    )
    _add_files(encode, "recording (WAV, FLAC, Ogg, MP3 ...)", "code file, .safetensors")
    decode = command(
        "decode",
        "code file to recording; refused by another codec than the one that made the file",
        "speech.safetensors decoded.wav --codec models/codec",
    )
    _add_files(decode, "code file", "recording, .wav or .flac")
    reconstruct = command(
        "reconstruct",
        "recordings to codes and back; one file, or a folder to a folder of the same shape.\n"
        "Recordings that cannot be read are listed, the others done, and the exit status is 1.",
        "recordings/ decoded/ --codec models/codec --resume",
    )
    _add_files(reconstruct, "recording, or folder of recordings", ".wav or .flac file, or folder")
    reconstruct.add_argument(
        "--resume", action="store_true", help="skip recordings whose output is there"
    )
    info = command("info", "sizes, rates and conventions of a codec", "--preset hh_24khz --json")
    either = info.add_mutually_exclusive_group(required=True)
    either.add_argument("--codec", metavar="FOLDER", help="folder of a trained codec")
    either.add_argument("--preset", metavar="NAME", help="built-in size, such as hh_24khz")
    for each in (encode, decode, reconstruct, info):
        each.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add_files(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    """IN, OUT and the codec."""
    parser.add_argument("input", type=Path, metavar="IN", help=source)
    parser.add_argument("output", type=Path, metavar="OUT", help=target)
    parser.add_argument("--codec", metavar="FOLDER", required=True, help="folder of the codec")


def _print_table(report: dict[str, Any], indent: str = "") -> None:
    """Names and values in two columns, nested ones indented."""
    width = max(map(len, report))
    for name, value in report.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        elif isinstance(value, int):
            print(f"{indent}{name:<{width}}  {value:,}")
        else:
            text = f"{value:.7g}" if isinstance(value, float) else value
            print(f"{indent}{name:<{width}}  {'-' if value is None else text}")
