"""Transfer of folders to object storage and back: corpora, token stores, models, whole runs.

    python -m recipes.storage.transfer runs/base/encode_corpus s3://bucket/base/encode_corpus
    python -m recipes.storage.transfer s3://bucket/base/encode_corpus runs/other/encode_corpus

Only files that differ are moved; readers of the target see its old files or its new ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from codec.command_line import DONE, exit_status
from codec.files.json_lines import iter_json_lines
from recipes.corpora.manifest import MANIFEST_NAME
from recipes.runner.cli import plain_parser
from slm.storage.sync import Transfer, is_url, pull, push


def main(argv: Sequence[str] | None = None) -> int:
    """Transfer one folder; returns the exit status."""
    arguments = _parser().parse_args(argv)

    def work() -> int:
        done = transfer(arguments.source, arguments.target, arguments.skip)
        report = f"{done.moved} files moved ({done.bytes} bytes), {done.kept} were there"
        print(json.dumps(vars(done)) if arguments.json else report)
        return DONE

    return exit_status(work, debug=arguments.debug)


def transfer(source: str, target: str, skip: Sequence[str] = ()) -> Transfer:
    """Push to a URL, or pull from one.

    Args:
        source: Folder or URL.
        target: URL or folder.
        skip: Patterns of paths that a push leaves out.

    Raises:
        ValueError: Not exactly one is a URL, a pull with `skip`, or a corpus whose recordings lie
            elsewhere.
    """
    if is_url(source) == is_url(target):
        raise ValueError(f"expected a folder and a URL such as s3://..., got {source}, {target}")
    if is_url(source):
        if skip:
            raise ValueError("skip: expected none where files are fetched")
        return pull(source, Path(target))
    # Before anything is sent: a corpus without its recordings is of no use.
    _check_recordings(Path(source) / MANIFEST_NAME)
    return push(Path(source), target, skip=skip)


def _check_recordings(manifest: Path) -> None:
    """Refuse a corpus that would arrive without its recordings."""
    if not manifest.is_file():
        return
    for number, row in iter_json_lines(manifest, required=("audio",)):
        audio = Path(str(row["audio"]))
        if audio.is_absolute() or ".." in audio.parts:
            raise ValueError(
                f"{manifest}:{number}: expected recordings below the manifest's folder, got "
                f"{audio}; import the corpus with -o set to a folder above its recordings"
            )


def add_skip(parser: argparse.ArgumentParser) -> None:
    """Add the option for paths that a push leaves out."""
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="GLOB",
        help="paths to leave out, such as 'prepare/*'; may be given several times",
    )


def _parser() -> argparse.ArgumentParser:
    parser = plain_parser("python -m recipes.storage.transfer", __doc__ or "")
    parser.add_argument("source", help="folder, or URL such as s3://bucket/folder")
    parser.add_argument("target", help="URL, or folder")
    add_skip(parser)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
