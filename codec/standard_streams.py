"""Standard streams of a command: each there, and none whose failure ends work that is done."""

from __future__ import annotations

import io
import os
import sys


def open_streams() -> None:
    """Give a process that was started without stdin, stdout or stderr an empty one each.

    A file that is opened would else get its number, and what libraries write to stderr end in that
    file; and what is printed to a stderr that is None goes to stdout.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:  # that of a lower one was free, too
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(opened, "r" if name == "stdin" else "w"))


def escape_in_output() -> None:
    """Let no name that stdout's encoding has no letters for end a work that is done."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Let Python flush stdout once more at its end, which must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
