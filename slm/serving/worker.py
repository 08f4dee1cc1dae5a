"""Jobs of a server: one at a time in a thread, the others waiting in order, up to a limit."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")
# Raises `Cancelled` once its job is not wanted any more.
Check = Callable[[], None]
_LONGEST_WAIT = 60  # seconds that a client is told to wait, at most


class Cancelled(Exception):
    """A job that is not wanted any more."""


class Busy(Exception):
    """A job that is refused, since as many wait as may.

    Attributes:
        retry_after: Seconds after which there should be room.
    """

    def __init__(self, waiting: int, retry_after: int) -> None:
        super().__init__(f"{waiting} requests are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


class Job(Generic[Made]):
    """Work that a `Worker` does in its thread, and what it makes, for the event loop.

    Args:
        work: Yields what it makes; calls the check it is given often.
    """

    def __init__(self, work: Callable[[Check], Iterable[Made]]) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._made: asyncio.Queue[Made | BaseException | None] = asyncio.Queue()
        self._stopped = threading.Event()
        self.future: Future[None] | None = None

    async def next(self) -> Made | None:
        """Wait for what is made next; None at the end.

        Raises:
            Exception: What the work raised.
        """
        made = await self._made.get()
        if isinstance(made, BaseException):
            raise made
        return made

    def cancel(self) -> None:
        """End the work at its next check, or before it begins; without effect once it has ended."""
        self._stopped.set()
        if self.future is not None:
            self.future.cancel()

    def run(self, on_end: Callable[[], None]) -> None:
        """Do the work, in the worker's thread; `on_end` is called before its end is told."""
        end: BaseException | None = None
        try:
            for made in self._work(self._check):
                self._hand_over(made)
                self._check()
        except Exception as error:
            # Nobody waits for the end of work that was cancelled.
            end = error
        on_end()
        self._hand_over(end)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Cancelled

    def _hand_over(self, made: Made | BaseException | None) -> None:
        # The loop is closed where the server has stopped.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._made.put_nowait, made)


class Worker:
    """A thread that does one job at a time.

    Args:
        max_waiting: Most jobs that wait while one is done.

    Raises:
        ValueError: A negative number.
    """

    def __init__(self, max_waiting: int) -> None:
        if max_waiting < 0:
            raise ValueError(f"expected 0 waiting requests or more, got {max_waiting}")
        self._max_waiting = max_waiting
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="speech")
        self._lock = threading.Lock()
        self._jobs: set[Job[Any]] = set()  # that are being done or wait
        self._seconds = 1.0  # of a job, a moving average

    @property
    def unfinished(self) -> int:
        """Number of jobs that are being done or wait."""
        return len(self._jobs)

    def submit(self, work: Callable[[Check], Iterable[Made]]) -> Job[Made]:
        """Have work done after all that waits; called in the event loop.

        Raises:
            Busy: As many wait as may.
        """
        with self._lock:
            if len(self._jobs) > self._max_waiting:
                wait = math.ceil(self._seconds * len(self._jobs))
                raise Busy(len(self._jobs) - 1, min(max(wait, 1), _LONGEST_WAIT))
            job = Job(work)
            self._jobs.add(job)
        job.future = self._executor.submit(self._timed, job)
        # A job that is cancelled while it waits makes room at once.
        job.future.add_done_callback(lambda _: self._ended(job))
        return job

    def close(self) -> None:
        """Wait for the job that is being done and drop the others."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _timed(self, job: Job[Any]) -> None:
        begun = time.perf_counter()
        # Who has been told of the end finds room for what it asks next.
        job.run(lambda: self._ended(job))
        self._seconds = 0.5 * (self._seconds + time.perf_counter() - begun)

    def _ended(self, job: Job[Any]) -> None:
        with self._lock:
            self._jobs.discard(job)
