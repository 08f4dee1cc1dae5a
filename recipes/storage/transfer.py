"""A folder to object storage or back: corpora, token stores, models, whole runs.

    python -m recipes.storage.transfer runs/base/encode_corpus s3://bucket/base/encode_corpus
    python -m recipes.storage.transfer s3://bucket/base/encode_corpus runs/other/encode_corpus

Only files that differ are moved; readers of the target see its old files or its new ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from recipes.corpora.manifest import MANIFEST_NAME
from slm.storage.sync import Transfer, is_url, pull, push


def main(argv: Sequence[str] | None = None) -> int:
    """Move one folder from the command line.

    Returns:
        Exit status: 0 when done, 1 when the disk failed, 2 for the caller's mistake.
    """
    arguments = _parser().parse_args(argv)
    try:
        done = transfer(arguments.source, arguments.target, arguments.skip)
    except (ValueError, OSError) as error:
        if arguments.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    print(f"{done.moved} files moved ({done.bytes} bytes), {done.kept} were there")
    return 0


def transfer(source: str, target: str, skip: Sequence[str] = ()) -> Transfer:
    """Push or pull, by which of the two is a URL.

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
    _check_recordings(Path(source) / MANIFEST_NAME)
    return push(Path(source), target, skip=skip)


def _check_recordings(manifest: Path) -> None:
    """Refuse a corpus that would arrive without its recordings."""
    if not manifest.is_file():
        return
    with manifest.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            audio = Path(str(json.loads(line)["audio"])) if line.strip() else Path()
            if audio.is_absolute() or ".." in audio.parts:
                raise ValueError(
                    f"{manifest}:{number}: expected recordings below the manifest's folder, got "
                    f"{audio}; import the corpus with -o set to a folder above its recordings"
                )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.storage.transfer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", help="folder, or URL such as s3://bucket/folder")
    parser.add_argument("target", help="URL, or folder")
    parser.add_argument(
        "--skip",
        action="append",
        default=[],
        metavar="GLOB",
        help="paths to leave out, such as 'prepare/*'; may be given several times",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
