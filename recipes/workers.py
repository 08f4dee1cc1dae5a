"""A function over many items, in worker processes, in order, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items in flight per worker: enough to keep them busy, too few for results to fill the memory.
IN_FLIGHT = 8


class Workers:
    """A pool of processes, started when there is work enough; use as a context manager.

    Args:
        count: Processes; 1 works in this one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], description: str
    ) -> Iterator[Result]:
        """`function(item)` for every item, in the order of the items.

        Args:
            function: Importable by name, since workers are fresh processes.
            items: Picklable arguments.
            description: What the progress bar on stderr says.
        """
        with tqdm(total=len(items), desc=description, file=sys.stderr, mininterval=1) as bar:
            for result in self._results(function, items):
                bar.update()
                yield result

    def _results(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Result]:
        """The results in order; a few items are in flight at any time."""
        if self.count <= 1 or len(items) < IN_FLIGHT * self.count:
            yield from map(function, items)
            return
        executor = self._started()
        pending: deque[Future[Result]] = deque()
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) >= IN_FLIGHT * self.count:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    def _started(self) -> ProcessPoolExecutor:
        """The pool, started on first use.

        Its processes are fresh ones: the fork of a process that has loaded torch may deadlock.
        """
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self.count, context, initializer=_end_with_parent)
        return self._executor


def _end_with_parent() -> None:
    """Let a worker die when its parent is killed, rather than wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
