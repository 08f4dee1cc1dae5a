"""Command line of the codec: `hh-codec encode`, `decode`, `verify`, `info`, `export` and others."""

from __future__ import annotations

from collections.abc import Sequence

from codec.command_line import Command, run_command_line

from . import bench, convert, export, info, verify

COMMANDS: tuple[Command, ...] = (convert, verify, info, bench, export)
EXAMPLES = """examples:
  hh-codec reconstruct speech.wav decoded.wav
  hh-codec encode recordings/ codes/ --workers 4 --resume
  hh-codec encode speech.flac codes.npy
  cat speech.wav | hh-codec encode - - --format json | hh-codec decode - decoded.wav
  hh-codec decode codes/ decoded/ --codec models/codec
  hh-codec verify recordings/
  hh-codec info --preset hh_24khz --json
  hh-codec bench
  hh-codec export onnx hh-mini-24k-v2 exported/
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when all went well; 1 when files could not be converted or are not sound; 2 when the
        call was wrong.
    """
    return run_command_line(
        "hh-codec",
        COMMANDS,
        argv,
        description="Speech to one stream of 24 Hz codes, and back.",
        examples=EXAMPLES,
    )
