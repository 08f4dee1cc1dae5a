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
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from .answers import INTERRUPTED, answer_calls, value_of

Result = TypeVar("Result")
# The thread counts that numerical libraries read when they are loaded.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
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
        number: Of it in its pool, which `worker_number` of `codec.runtime.answers` gives there.
    """

    def __init__(
        self,
        setup: Callable[..., object] | None = None,
        setup_args: Sequence[Any] = (),
        threads: int | None = None,
        number: int = 0,
    ) -> None:
        self._setup, self._setup_args, self._threads = setup, tuple(setup_args), threads
        self._number = number
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
        return value_of(pickle.loads(content))

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
                # Another thread that starts a process polls all others: where it has this one's
                # status from the system, `join` is over before that thread has noted it.
                patience = time.monotonic() + _PATIENCE
                while self._process.exitcode is None and time.monotonic() < patience:
                    time.sleep(0.001)

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
                target=answer_calls, args=(theirs, self._setup, self._setup_args, self._number)
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
            value_of(pickle.loads(content))
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
            if self._is_ending or status in (INTERRUPTED, -signal.SIGINT):
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
