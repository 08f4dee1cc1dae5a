"""`hh-codec verify`: checks of a codec on given recordings, and of `.hhc` files."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from codec.command_line import DONE, FAILED, Commands, add_command, print_report

from .options import add_codec

if TYPE_CHECKING:
    from codec.bitstream.verify import FileChecks


def add(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "verify",
        run,
        summary="check that codes of recordings are stable, and that .hhc files are sound",
        description="Check that codes are the same alone, again and in a batch, come back from a\n"
        "stream and decode to the length of the recording; of .hhc files, CRCs, header and codec.",
        examples="example:\n  hh-codec verify recordings/ --codec models/codec --json",
    )
    parser.add_argument("input", type=Path, metavar="IN", help="recording, .hhc file or folder")
    add_codec(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check recordings and `.hhc` files; status 1 when one does not pass."""
    from tqdm import tqdm

    from codec.audio.io import RECORDINGS
    from codec.bitstream.batch import load_codec
    from codec.bitstream.format import SUFFIX
    from codec.bitstream.verify import verify_file
    from codec.files.names import given_files

    paths = given_files(arguments.input, (*RECORDINGS, SUFFIX))
    codec = load_codec(arguments.codec, arguments.device)
    bar = tqdm(paths, desc="verify", unit="file", file=sys.stderr)
    files = {str(path): verify_file(codec, path) for path in bar}
    num_failed = sum(not each.is_sound for each in files.values())
    if arguments.json:
        report = {
            "num_files": len(files),
            "num_failed": num_failed,
            "codec_fingerprint": codec.fingerprint,
            "code_fingerprint": codec.code_fingerprint,
            "files": {p: {**asdict(each), "is_sound": each.is_sound} for p, each in files.items()},
        }
        print_report(report, as_json=True)
    else:
        print("\n".join(as_lines(files)))
    return FAILED if num_failed else DONE


def as_lines(files: dict[str, FileChecks]) -> list[str]:
    """Describe each file in a line, and what is wrong with it."""
    width = max(map(len, files))
    return [
        f"{'ok' if each.is_sound else 'FAILED':<6}  {path:<{width}}  {each.duration:8.1f} s "
        f"{each.num_codes:8,} codes{'' if each.is_sound else '  ' + each.reason}"
        for path, each in files.items()
    ]
