"""`hh-eval listen`: one page for a blind listening test; `hh-eval report` reads the answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from codec.command_line import Commands, add_command, print_report, whole_number
from codec.files.names import check_place
from eval.reporting.listening_test import KEY_NAME, KINDS, write_listening_test

from .options import audio_files

EXAMPLES = """examples:
  hh-eval listen ours=decoded/ opus=opus_6/ --reference recordings/ --out listening
  hh-eval listen runs/anchors/hh-mini-24k runs/anchors/codec2_1200 --kind mushra \\
    --reference runs/anchors/recordings --clips 8 --out listening
  hh-eval report listening                 # with the answers of all listeners beside the key
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands,
        "listen",
        run,
        summary="one offline page for a blind A/B or MUSHRA-like listening test",
        description="Each RUN is a folder of audio or holds one as audio/, as the systems of "
        "recipes.comparisons.anchors do; files are matched by their names. OUT gets listen.html "
        f"for the listeners and {KEY_NAME}, which stays with you. Answers come back as JSON files: "
        "put them into OUT and call `hh-eval report OUT`.",
        examples=EXAMPLES,
    )
    command.add_argument("runs", nargs="+", metavar="RUN", help="NAME=FOLDER or FOLDER")
    command.add_argument("--reference", type=Path, metavar="FOLDER", help="the recordings")
    command.add_argument("--kind", choices=KINDS, default="ab", help="two at a time, or all scored")
    command.add_argument("--clips", type=whole_number(1), default=12, help="at most, evenly spread")
    command.add_argument("--seed", type=whole_number(0), default=0, help="of the order")
    command.add_argument("--title", default="Listening test", help="heading of the page")
    command.add_argument("--out", type=Path, required=True, help="folder of the test")


def run(arguments: argparse.Namespace) -> int:
    """Write the page and its key."""
    check_place(arguments.out, is_folder=True)
    systems: dict[str, dict[str, Path]] = {}
    for text in arguments.runs:
        name, sign, path = text.partition("=")
        folder = Path(path if sign else text)
        name = name if sign else folder.resolve().name
        if not name or name in systems:
            raise ValueError(f"expected distinct names of systems, got {name!r} again: NAME=FOLDER")
        systems[name] = audio_files(folder / "audio" if (folder / "audio").is_dir() else folder)
    page = write_listening_test(
        systems,
        arguments.out,
        kind=arguments.kind,
        reference=None if arguments.reference is None else audio_files(arguments.reference),
        clips=arguments.clips,
        seed=arguments.seed,
        title=arguments.title,
    )
    report = {"page": str(page), "key": str(arguments.out / KEY_NAME)}
    print_report(report, as_json=arguments.json)
    return 0
