"""Standard streams of a command: each there, and none whose failure ends work that is done."""

from __future__ import annotations

import io
import os
import sys


def open_streams() -> None:
    """Keep the numbers of streams that a process was started without from the files it opens.

    What libraries write to stderr would else end in one of them. `sys.stdin` and `sys.stdout` stay
    None, for a command that needs one to say so; what is said on stderr is said to nobody, where
    print would take None for stdout.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:  # that of a lower one was free, too
                os.dup2(opened, number)
                os.close(opened)
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def escape_in_output() -> None:
    """Let no name that stdout's encoding has no letters for end a work that is done."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Let Python flush stdout once more at its end, which must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
