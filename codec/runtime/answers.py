"""Loop of a worker process: it answers calls until its pipe is closed, and ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, NamedTuple

from codec.error_text import message_of

# Exit status of a process that was interrupted, as a shell gives it.
INTERRUPTED = 128 + signal.SIGINT


def leave_with_parent() -> None:
    """End this worker process when its parent is gone, since a killed one cannot tell it to.

    Does nothing in a process that no other of Python's started.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Answer(NamedTuple):
    """Outcome of a call.

    Attributes:
        result: What it returned.
        error: What it raised, or None.
        traceback: Of that, as text, which is all of a traceback that can be sent.
    """

    result: Any = None
    error: BaseException | None = None
    traceback: str = ""


class _RemoteTraceback(Exception):
    """The traceback of an error in another process."""


def value_of(answer: Answer) -> Any:
    """The result of a call, or its error raised."""
    if answer.error is None:
        return answer.result
    raise answer.error from _RemoteTraceback(f"\n{answer.traceback}")


_number = 0  # of this process among the workers of its pool


def worker_number() -> int:
    """This process's number among those of its pool, such as to choose a GPU by; 0 elsewhere."""
    return _number


def answer_calls(
    link: Connection,
    setup: Callable[..., object] | None,
    setup_args: tuple[Any, ...],
    number: int = 0,
) -> None:
    """Answer calls until the other end is closed: the body of a worker process."""
    global _number
    _number = number
    try:
        signal.signal(signal.SIGINT, _interrupted)
        leave_with_parent()
        link.send_bytes(_sendable(_answer(setup, setup_args) if setup else Answer()))
        while True:
            function, arguments = pickle.loads(link.recv_bytes())
            link.send_bytes(_sendable(_answer(function, arguments)))
    except (EOFError, ConnectionError):  # nobody is there to answer
        return
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt once: a second signal must not cut the cleaning up short."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _answer(function: Callable[..., Any], arguments: Sequence[Any]) -> Answer:
    try:
        return Answer(function(*arguments))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Answer(None, error, traceback.format_exc())


def _sendable(answer: Answer) -> bytes:
    """An answer as bytes; what cannot be sent becomes a RuntimeError that says so."""
    try:
        content = pickle.dumps(answer)
        if answer.error is not None:
            # An error that takes other arguments than its message fails only when it is read.
            pickle.loads(content)
        return content
    except Exception as problem:
        what = (
            "result"
            if answer.error is None
            else f"{type(answer.error).__name__}: {message_of(answer.error)}"
        )
        error = RuntimeError(
            f"{what} (which cannot be sent from a worker process: {message_of(problem)})"
        )
        return pickle.dumps(Answer(None, error, answer.traceback or traceback.format_exc()))
