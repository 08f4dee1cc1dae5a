"""Signals that ask a process to end, heeded as an interrupt: what is open is closed and removed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Of a process to be ended, and of a terminal that went away; Windows has the first alone.
_NAMES = ("SIGTERM", "SIGHUP")
# Seconds after a signal in which others are left unheeded: some senders send it twice, to the
# process and to its group, which must not cut the cleaning up short.
_ONCE_IN = 2.0


class Ended(KeyboardInterrupt):
    """The process was asked to end; the message names the signal."""


@contextmanager
def heeded_signals() -> Iterator[list[int]]:
    """Raise `Ended` in the main thread when SIGTERM or SIGHUP comes.

    What has a handler already, or is ignored as by `nohup`, stays as it is, and so does everything
    in a thread that is not the main one.

    Yields:
        The numbers of the signals that came, in their order: some libraries take an interrupt for
        a wish to stop, and return as if nothing had been.
    """
    came: list[int] = []
    owner, last = os.getpid(), -_ONCE_IN

    def heed(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if os.getpid() != owner:  # forked, with nothing to be removed
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        now = time.monotonic()
        if now - last < _ONCE_IN:
            return
        last = now
        came.append(number)
        raise Ended(f"ended by {signal.Signals(number).name}")

    taken = []
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
        taken = [each for each in numbers if signal.getsignal(each) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, heed)
    try:
        yield came
    finally:
        for number in taken:
            if signal.getsignal(number) is heed:
                signal.signal(number, signal.SIG_DFL)


@contextmanager
def unheeded_signals() -> Iterator[None]:
    """Leave SIGTERM to a library that sets a handler of its own beside one that it finds."""
    found = signal.getsignal(signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or getattr(found, "__module__", "") != __name__:
        yield
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, found)
