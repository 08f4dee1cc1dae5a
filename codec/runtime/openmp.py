"""How threads of OpenMP wait for one another."""

from __future__ import annotations

import os


def sleep_while_waiting() -> None:
    """Let OpenMP's threads sleep soon where one waits for another, unless the user chose.

    By default they spin for milliseconds, which on a busy machine takes the processor from the very
    thread that they wait for: a step of generation by two threads took 63 ms in place of 8, beside
    eight other processes on two cores; on idle cores it takes some hundredths longer so. GNU's
    OpenMP, which torch's builds for Linux have, reads it when it is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
