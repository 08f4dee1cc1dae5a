"""One worker process that is called again and again, and one call in a process of its own.

Processes are fresh (spawned: the fork of one that has loaded torch may deadlock), so what they call
must be importable by name, and arguments and results picklable. They end with the process that
started them, however that one ends, and Ctrl-C lets them clean up.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")

# The thread counts that numerical libraries read when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# Exit status of a process that was interrupted, as a shell gives it.
_INTERRUPTED = 128 + signal.SIGINT
# Seconds that a process has for ending once it is asked to.
_PATIENCE = 5.0


class WorkerDied(ChildProcessError):
    """A worker process ended without an answer, such as one that was killed for want of memory."""


class SetupError(Exception):
    """A worker process that could not be set up.

    Attributes:
        reason: What `setup` raised, or `WorkerDied`.
    """

    def __init__(self, reason: BaseException) -> None:
        super().__init__(str(reason))
        self.reason = reason


class WorkerProcess:
    """A process that answers calls: started by the first one, and by the first after its death.

    Args:
        setup: What is called in it before all else, such as to load a model into a global.
        setup_args: Its picklable arguments.
        threads: Threads of numerical libraries in it; None leaves them alone.
    """

    def __init__(
        self,
        setup: Callable[..., object] | None = None,
        setup_args: Sequence[Any] = (),
        threads: int | None = None,
    ) -> None:
        self._setup, self._setup_args, self._threads = setup, tuple(setup_args), threads
        self._process: BaseProcess | None = None
        self._link: Connection | None = None
        self._is_ending = False
        # Held while the process is started or ended, by whatever thread, not while it works.
        self._changing = threading.RLock()

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in the process; one call at a time.

        Args:
            function: Importable by name.
            arguments: Picklable.

        Raises:
            WorkerDied: The process died.
            SetupError: Its setup raised, or ended it.
            KeyboardInterrupt: It was interrupted.
            Exception: What the function raised; its cause shows the traceback in the process.
        """
        request = pickle.dumps((function, arguments))
        link = self._link or self._start()
        try:
            link.send_bytes(request)
            content = link.recv_bytes()
        except (EOFError, OSError) as error:
            raise self._death() from error
        return _value(pickle.loads(content))

    def interrupt(self) -> None:
        """Ask the process to clean up and end, as Ctrl-C does; no other takes its place."""
        with self._changing:
            self._is_ending = True
            if self._process is None or self._process.pid is None:
                return
            if sys.platform == "win32":
                self._process.terminate()
            else:
                with suppress(ProcessLookupError):
                    os.kill(self._process.pid, signal.SIGINT)

    def wait(self) -> None:
        """Wait a few seconds for an interrupted process to end, then kill it."""
        with self._changing:
            if self._process is not None:
                self._process.join(_PATIENCE)
                self._process.kill()
                self._process.join()

    def stop(self) -> None:
        """End the process, which must be at no call any more."""
        with self._changing:
            if self._link is not None:
                self._link.close()  # which ends it
            if self._process is not None:
                self.wait()
                self._process.close()
            self._process, self._link = None, None

    def _start(self) -> Connection:
        """Start the process, and wait until it is set up."""
        context = multiprocessing.get_context("spawn")
        with self._changing, thread_limit(self._threads):
            if self._is_ending:
                raise KeyboardInterrupt
            link, theirs = context.Pipe()
            process = context.Process(
                target=_answer_calls, args=(theirs, self._setup, self._setup_args)
            )
            with theirs:  # a copy is in the process
                process.start()
            self._link, self._process = link, process
        try:
            content = link.recv_bytes()
        except (EOFError, OSError) as error:
            death = self._death()
            if isinstance(death, WorkerDied):
                raise SetupError(death) from error
            raise death from error
        try:
            _value(pickle.loads(content))
        except BaseException as error:
            self.stop()
            raise SetupError(error) from error
        return link

    def _death(self) -> BaseException:
        """Cause of the process's death; another may be started then."""
        with self._changing:
            assert self._process is not None
            self.wait()
            status = self._process.exitcode
            self.stop()
            if self._is_ending or status in (_INTERRUPTED, -signal.SIGINT):
                return KeyboardInterrupt()
        return WorkerDied(
            f"a worker process died, perhaps for want of memory (exit status {status})"
        )


def run_in_process(
    function: Callable[..., Result], *arguments: Any, threads: int | None = None
) -> Result:
    """Call a function in a fresh process, such as to measure its memory, and return its result.

    Args:
        function: Importable by name.
        arguments: Picklable.
        threads: Threads of numerical libraries in there; None leaves them alone.

    Raises:
        WorkerDied: The process died.
        Exception: What the function raised; its cause shows the traceback in the process.
    """
    process = WorkerProcess(threads=threads)
    try:
        return process.call(function, *arguments)
    except SetupError as error:
        raise error.reason from error.reason.__cause__
    except KeyboardInterrupt:
        process.interrupt()
        raise
    finally:
        process.stop()


_environment = threading.RLock()


@contextmanager
def thread_limit(threads: int | None) -> Iterator[None]:
    """Let processes that are started within use so many threads; None changes nothing.

    Numerical libraries read it when they are loaded, so it does nothing for this process.
    """
    if threads is None:
        yield
        return
    with _environment:
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


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


class _Answer(NamedTuple):
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


def _value(answer: _Answer) -> Any:
    """The result of a call, or its error raised."""
    if answer.error is None:
        return answer.result
    raise answer.error from _RemoteTraceback(f"\n{answer.traceback}")


def _answer_calls(
    link: Connection, setup: Callable[..., object] | None, setup_args: tuple[Any, ...]
) -> None:
    """Answer calls until the other end is closed: the body of a worker process."""
    try:
        signal.signal(signal.SIGINT, _interrupted)
        leave_with_parent()
        link.send_bytes(_sendable(_answer(setup, setup_args) if setup else _Answer()))
        while True:
            function, arguments = pickle.loads(link.recv_bytes())
            link.send_bytes(_sendable(_answer(function, arguments)))
    except (EOFError, ConnectionError):  # nobody is there to answer
        return
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt once: a second signal must not cut the cleaning up short."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _answer(function: Callable[..., Any], arguments: Sequence[Any]) -> _Answer:
    try:
        return _Answer(function(*arguments))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _Answer(None, error, traceback.format_exc())


def _sendable(answer: _Answer) -> bytes:
    """An answer as bytes; what cannot be sent becomes a RuntimeError that says so."""
    try:
        content = pickle.dumps(answer)
        if answer.error is not None:
            # An error that takes other arguments than its message fails only when it is read.
            pickle.loads(content)
        return content
    except Exception as problem:
        what = (
            "result" if answer.error is None else f"{type(answer.error).__name__}: {answer.error}"
        )
        error = RuntimeError(f"{what} (which cannot be sent from a worker process: {problem})")
        return pickle.dumps(_Answer(None, error, answer.traceback or traceback.format_exc()))
