"""A function over many items, in worker processes, in order, with a progress bar.

What a worker that died was at is not known, so the items that were in flight first are done again,
one at a time in a process of their own: then it is. Other items go on in a new pool.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items in flight per worker: enough to keep them busy, too few for results to fill the memory.
IN_FLIGHT = 8
# Why there is nothing of an item.
DEADLY = "the process that worked on it died, and died again when it worked on nothing else"


class Workers:
    """A pool of processes, started when there is work enough; use as a context manager.

    Args:
        count: Processes; 1 works in this one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._executor: ProcessPoolExecutor | None = None
        self._single: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for executor in (self._executor, self._single):
            if executor is not None:
                executor.shutdown(cancel_futures=True)

    def works_here(self, items: int) -> bool:
        """Whether so many items are done in this process: for few, others are not started."""
        return self.count <= 1 or items < IN_FLIGHT * self.count

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        description: str,
        *,
        deadly: Callable[[Item], Result] | None = None,
    ) -> Iterator[Result]:
        """`function(item)` for every item, in the order of the items.

        Args:
            function: Importable by name, since workers are fresh processes.
            items: Picklable arguments.
            description: What the progress bar on stderr says.
            deadly: What is done in this process with an item that ended a worker which had
                nothing else to do.

        Raises:
            BrokenProcessPool: A worker died, and there is no `deadly`.
        """
        with tqdm(total=len(items), desc=description, file=sys.stderr, mininterval=1) as bar:
            for result in self._results(function, items, deadly):
                bar.update()
                yield result

    def alone(self, function: Callable[[Item], Result], item: Item) -> Result:
        """`function(item)` in a process that does nothing else meanwhile.

        Raises:
            BrokenProcessPool: The process died.
        """
        if self._single is None:
            self._single = _pool(1)
        try:
            return self._single.submit(function, item).result()
        except BrokenProcessPool:
            self._single = None
            raise

    def _results(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        deadly: Callable[[Item], Result] | None,
    ) -> Iterator[Result]:
        """The results in order; a few items are in flight at any time."""
        if self.works_here(len(items)):
            yield from map(function, items)
            return
        pending: deque[tuple[Item, Future[Result]]] = deque()
        waiting = iter(items)
        while True:
            for item in itertools.islice(waiting, IN_FLIGHT * self.count - len(pending)):
                pending.append((item, self._submit(function, item)))
            if not pending:
                return
            try:
                result = pending[0][1].result()
            except BrokenProcessPool:
                if deadly is None:
                    raise
                suspects = self._start_again(function, pending)
                for item in suspects:
                    yield self._examined(function, item, deadly)
            else:
                pending.popleft()
                yield result

    def _start_again(
        self, function: Callable[[Item], Result], pending: deque[tuple[Item, Future[Result]]]
    ) -> list[Item]:
        """After a death: the first items without a result, which are taken out of `pending`.

        Workers take items in their order, so that each had one of those. What comes after them is
        submitted to new workers.
        """
        self._executor = None
        suspects: list[Item] = []
        while pending and len(suspects) < 2 * self.count and not _has_result(pending[0][1]):
            suspects.append(pending.popleft()[0])
        message = f"a worker process died, perhaps for want of memory; {len(suspects)} items that "
        tqdm.write(message + "it may have been at are done again, one at a time", file=sys.stderr)
        for place, (item, future) in enumerate(pending):
            if not _has_result(future):
                pending[place] = (item, self._submit(function, item))
        return suspects

    def _examined(
        self,
        function: Callable[[Item], Result],
        item: Item,
        deadly: Callable[[Item], Result],
    ) -> Result:
        """The result of an item that may have ended a worker."""
        try:
            return self.alone(function, item)
        except BrokenProcessPool:
            return deadly(item)

    def _submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Hand an item to the pool, which is started on first use."""
        if self._executor is None:
            self._executor = _pool(self.count)
        try:
            return self._executor.submit(function, item)
        except BrokenProcessPool as error:  # nobody has looked at a result since it broke
            failed: Future[Result] = Future()
            failed.set_exception(error)
            return failed


def _pool(count: int) -> ProcessPoolExecutor:
    """Fresh processes: the fork of a process that has loaded torch may deadlock."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=_end_with_parent)


def _has_result(future: Future[Result]) -> bool:
    """Whether an item was done, well or badly, before its worker died."""
    return future.done() and not isinstance(future.exception(), BrokenProcessPool)


def _end_with_parent() -> None:
    """Let a worker die when its parent is killed, rather than wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
