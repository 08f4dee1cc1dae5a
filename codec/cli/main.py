"""Command line of the codec: `hh-codec encode | decode | reconstruct | verify | info | bench`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import bench as bench_command

DEFAULT_CODEC = "hh-mini-24k"
EXAMPLES = """examples:
  hh-codec reconstruct speech.wav decoded.wav
  hh-codec encode recordings/ codes/ --workers 4 --resume
  hh-codec decode codes/ decoded/ --codec models/codec
  hh-codec verify recordings/
  hh-codec info --preset hh_24khz --json
  hh-codec bench
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when all went well; 1 when files could not be converted or are not sound; 2 when the
        call was wrong.
    """
    arguments = _parser().parse_args(argv)
    # torch takes seconds to load, for which --help and a misspelt option need not wait
    from .convert import COMMANDS

    try:
        if "run" in arguments:  # a command that prints for itself
            return arguments.run(arguments)
        report, status = COMMANDS[arguments.command](arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    lines = report.pop("lines", None)
    for path, reason in report.get("failed", {}).items():
        print(f"failed: {path}: {reason}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(report, ensure_ascii=False))
    elif lines is not None:
        print("\n".join(lines))
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

    rest = (
        "\nA folder becomes a folder of the same shape. Files that cannot be converted are\n"
        "listed, the others done, and the exit status is 1."
    )
    encode = command(
        "encode",
        f"recordings to .hhc files; any rate, number of channels and length.{rest}",
        "speech.flac speech.hhc",
    )
    _add_files(encode, "recording (WAV, FLAC, Ogg, MP3 ...) or folder", ".hhc file or folder")
    decode = command(
        "decode",
        f".hhc files to recordings; refused by another codec than the one that made them.{rest}",
        "speech.hhc decoded.wav",
    )
    _add_files(decode, ".hhc file or folder", ".wav or .flac file, or folder")
    decode.add_argument(
        "--salvage",
        action="store_true",
        help="decode what is sound of damaged files; lost blocks become the sound before them",
    )
    reconstruct = command(
        "reconstruct", f"recordings to codes and back.{rest}", "recordings/ decoded/ --resume"
    )
    _add_files(reconstruct, "recording, or folder of recordings", ".wav or .flac file, or folder")
    verify = command(
        "verify",
        "whether codes are the same alone, again and in a batch, come back from a stream and\n"
        "decode to the length of the recording; of .hhc files, CRCs, header and codec",
        "recordings/ --codec models/codec --json",
    )
    verify.add_argument("input", type=Path, metavar="IN", help="recording, .hhc file or folder")
    _add_codec(verify)
    info = command("info", "sizes, rates and conventions of a codec", "--preset hh_24khz --json")
    either = info.add_mutually_exclusive_group()
    either.add_argument(
        "--codec", metavar="CODEC", default=DEFAULT_CODEC, help=f"as for encode ({DEFAULT_CODEC})"
    )
    either.add_argument("--preset", metavar="NAME", help="built-in size, such as hh_24khz")
    bench_command.add(commands)
    for each in (encode, decode, reconstruct, verify, info):
        each.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add_files(parser: argparse.ArgumentParser, source: str, target: str) -> None:
    """IN, OUT, the codec and how to work."""
    parser.add_argument("input", type=Path, metavar="IN", help=source)
    parser.add_argument("output", type=Path, metavar="OUT", help=target)
    _add_codec(parser)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (1)")
    parser.add_argument(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="recordings with the same number of codes computed together (1); helps on a GPU",
    )
    parser.add_argument(
        "--resume", action="store_true", help="skip files whose output is there and sound"
    )


def _add_codec(parser: argparse.ArgumentParser) -> None:
    """The codec and its device."""
    parser.add_argument(
        "--codec",
        metavar="CODEC",
        default=DEFAULT_CODEC,
        help=f"model folder, bundled name or hub repository ({DEFAULT_CODEC})",
    )
    parser.add_argument("--device", default="cpu", help="such as cpu or cuda (cpu)")


def _print_table(report: dict[str, Any], indent: str = "") -> None:
    """Names and values in two columns, nested ones indented."""
    width = max(map(len, report), default=0)
    for name, value in report.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            _print_table(value, indent + "  ")
        elif isinstance(value, int):
            print(f"{indent}{name:<{width}}  {value:,}")
        else:
            text = f"{value:.7g}" if isinstance(value, float) else value
            print(f"{indent}{name:<{width}}  {'-' if value is None else text}")
