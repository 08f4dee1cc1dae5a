"""Backup of a run folder in object storage while a command works in it.

    python -m recipes.storage.backup RUN s3://bucket/RUN -- python -m recipes.train_slm my.yaml
        run=RUN

Another machine resumes by the same call: where the folder is missing it is fetched first. While the
command runs, files that changed are sent every so often, and once more when it ends; checkpoints go
when they are whole, and training does not wait for it. Works for every stage and under torchrun.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codec.command_line import WRONG_CALL, HelpFormatter, number
from codec.error_text import message_of
from recipes.runner.stages import say
from slm.storage.sync import StorageError, Transfer, has_index, pull, push

from .transfer import add_skip

_RESTORING = ".restoring"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command with a backup of its run folder.

    Returns:
        Exit status: the command's; 1 when only the last push failed; 2 when the folder cannot be
        fetched or the command is missing.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    # Options of the command itself follow `--`.
    split = given.index("--") if "--" in given else len(given)
    # By hand: argparse would take an option before `--` for the end of the command.
    arguments = _parser().parse_args(given[:split])
    arguments.command = given[split + 1 :]
    try:
        if not arguments.command:
            raise ValueError("expected a command after --")
        say("backup", restore(arguments.folder, arguments.url))
        return run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return WRONG_CALL


def restore(folder: Path, url: str) -> str:
    """Fetch a run folder that is not here yet; returns a sentence for the log.

    A folder that holds anything is left as it is: it may be ahead of the one that was pushed.

    Raises:
        StorageError: The storage cannot be reached or a file there is damaged.
    """
    marker = folder / _RESTORING
    if folder.is_dir() and any(folder.iterdir()) and not marker.exists():
        return f"{folder} is here: resuming from it"
    if not has_index(url):
        return f"nothing at {url} yet: starting anew"
    folder.mkdir(parents=True, exist_ok=True)
    marker.touch()  # until all is here, so that a fetch that was cut off is resumed
    done = pull(url, folder)
    marker.unlink()
    return f"fetched {done.moved} files ({done.bytes} bytes) of {url}"


def run(arguments: argparse.Namespace) -> int:
    """Run the command, push every so often and at the end; returns the exit status."""
    # Digests of files by size and time of change: what did not change is not read again.
    known: dict[str, Any] = {}

    def save() -> Transfer:
        return push(
            arguments.folder, arguments.url, skip=arguments.skip, known=known, progress=False
        )

    # A session of its own, so that a signal reaches its processes once, through us.
    process = subprocess.Popen(arguments.command, start_new_session=True)
    with _forwarded(process):
        while process.poll() is None:
            try:
                process.wait(arguments.every)
            except subprocess.TimeoutExpired:
                if arguments.folder.is_dir():
                    _try(save)
    saved = arguments.folder.is_dir() and _try(save)
    # A process that a signal ended has the shell's status for it.
    status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    return status or (0 if saved else 1)


def _try(save: Callable[[], Transfer]) -> bool:
    """Push, and report a failure alone: storage that is away must not end the training."""
    try:
        done = save()
    except (StorageError, OSError) as error:
        say("backup", f"not saved, will be tried again: {message_of(error)}")
        return False
    if done.moved:
        say("backup", f"saved {done.moved} files ({done.bytes} bytes)")
    return True


@contextmanager
def _forwarded(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Forward SIGTERM and SIGINT to the command, so that the last push follows its end."""

    def forward(number: int, frame: Any) -> None:
        if process.poll() is not None:
            return
        if hasattr(os, "killpg"):  # to the whole group: torchrun and its workers
            os.killpg(process.pid, number)
        elif number != signal.SIGINT:  # Ctrl-C of Windows reaches all programs of a console
            process.terminate()

    before = {each: signal.signal(each, forward) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.storage.backup",
        usage="%(prog)s [--every S] [--skip GLOB] FOLDER URL -- COMMAND ...",
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="run folder, such as runs/base")
    parser.add_argument("url", help="where it is kept, such as s3://bucket/runs/base")
    parser.add_argument(
        "--every", type=number(above=0), default=60.0, help="seconds between pushes"
    )
    add_skip(parser)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
