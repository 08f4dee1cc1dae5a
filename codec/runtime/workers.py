"""A function over many items in worker processes.

Each item's process is known, so a worker that is killed costs its own item at most: that is tried
once more, one such item at a time, and given back with `WorkerDied` if its process dies again.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from .processes import SetupError, WorkerDied, WorkerProcess

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items of each worker that are at work, waiting, or done and not yet taken: enough to keep it busy,
# too few for results to fill the memory.
IN_FLIGHT = 8
# Why there is nothing of an item, for lists of what failed.
DEADLY = "the process that worked on it died, and died again when it worked on nothing else"


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """One item with its result, or with the error that belongs to it.

    Attributes:
        index: Of the item among all.
        item: It.
        result: What the function returned, None where it raised.
        error: What it raised, `WorkerDied` where its process died twice, None otherwise.
    """

    index: int
    item: Item
    result: Result | None = None
    error: BaseException | None = None

    def value(self) -> Result:
        """Return the result, or raise the error, with a note of the item from Python 3.11 on."""
        if self.error is None:
            return cast(Result, self.result)
        if sys.version_info >= (3, 11):
            self.error.add_note(f"raised by item {self.index}: {_shown(self.item)}")
        raise self.error


class Workers:
    """A pool of processes, each started when there is work for it; use as a context manager.

    Leaving it waits for items at work and gives up those that are not begun. A KeyboardInterrupt
    interrupts the workers too.

    Args:
        count: Processes beside this one; 0 works in this one.
        setup: Called once in every process that works, such as to load a model into a global.
        setup_args: Its picklable arguments.
        teardown: Called on leaving in this process, where that was set up, such as to drop the
            model; other processes end with what they hold.
        threads: Threads of numerical libraries in each worker; None leaves them alone.
        spare_few: Whether to work in this process on fewer than `IN_FLIGHT` items a worker, for
            which starting others takes longer than the work.

    Raises:
        ValueError: A count below 0.
    """

    def __init__(
        self,
        count: int,
        *,
        setup: Callable[..., object] | None = None,
        setup_args: Sequence[Any] = (),
        teardown: Callable[[], object] | None = None,
        threads: int | None = None,
        spare_few: bool = False,
    ) -> None:
        if count < 0:
            raise ValueError(f"count: expected a number of processes >= 0, got {count}")
        self.count = count
        self.spare_few = spare_few
        self._setup, self._setup_args = setup, tuple(setup_args)
        self._teardown, self._is_set_up_here = teardown, False
        self._processes = [
            WorkerProcess(setup, setup_args, threads, number) for number in range(count)
        ]
        self._single = WorkerProcess(setup, setup_args, threads)
        # The last one that was at work is taken first, so that few items start few processes.
        self._idle: queue.LifoQueue[WorkerProcess] = queue.LifoQueue()
        for process in reversed(self._processes):
            self._idle.put(process)
        self._threads: ThreadPoolExecutor | None = None
        self._trying_again = threading.Lock()

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        processes = [*self._processes, self._single]
        if error is not None and not isinstance(error, Exception):
            for process in processes:
                process.interrupt()
            for process in processes:
                process.wait()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None
        for process in processes:
            process.stop()
        if self._teardown is not None and self._is_set_up_here:
            self._is_set_up_here = False
            self._teardown()

    def works_here(self, items: int) -> bool:
        """Tell whether so many items are done in this process."""
        return self.count == 0 or (self.spare_few and items < IN_FLIGHT * self.count)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        deadly: Callable[[Item], Result] | None = None,
    ) -> Iterator[Result]:
        """Apply a function to every item; results come in the order of the items.

        Args:
            function: Importable by name.
            items: Picklable arguments.
            deadly: Gives, in this process, the result of an item whose process died twice.

        Raises:
            WorkerDied: The process of an item died twice, and there is no `deadly`.
            Exception: What the function or `setup` raised.
        """
        for outcome in self.outcomes(function, items):
            if deadly is not None and isinstance(outcome.error, WorkerDied):
                yield deadly(outcome.item)
            else:
                yield outcome.value()

    def outcomes(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        *,
        in_order: bool = True,
    ) -> Iterator[Outcome[Item, Result]]:
        """Apply a function to every item; what it raises for one spares the others.

        Args:
            function: Importable by name.
            items: Picklable arguments.
            in_order: Whether outcomes come in the order of the items, or as items are done.

        Raises:
            WorkerDied: A process died while it was set up.
            Exception: What `setup` raised.
        """
        if self.works_here(len(items)):
            yield from self._outcomes_here(function, items)
            return
        waiting = enumerate(items)
        pending: deque[tuple[int, Item, Future[Result]]] = deque()
        try:
            while True:
                while len(pending) < IN_FLIGHT * self.count:
                    following = next(waiting, None)
                    if following is None:
                        break
                    pending.append((*following, self._submit(function, following[1])))
                if not pending:
                    return
                place = 0 if in_order else _first_done([future for *_, future in pending])
                outcome = _outcome(*pending[place])
                del pending[place]
                yield outcome
        finally:
            for *_, future in pending:
                future.cancel()

    def alone(self, function: Callable[[Item], Result], item: Item) -> Result:
        """Apply a function to an item in a process that does nothing else meanwhile.

        Raises:
            WorkerDied: The process died.
            Exception: What the function or `setup` raised.
        """
        try:
            return self._single.call(function, item)
        except SetupError as error:
            raise error.reason from error.reason.__cause__

    def _outcomes_here(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[Outcome[Item, Result]]:
        """`outcomes` in this process."""
        if self._setup is not None and not self._is_set_up_here:
            self._is_set_up_here = True  # in part, where it fails
            self._setup(*self._setup_args)
        for index, item in enumerate(items):
            try:
                outcome = Outcome(index, item, function(item))
            except Exception as error:
                outcome = Outcome(index, item, None, error)
            yield outcome

    def _submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Hand an item to a thread, which hands it to a process and waits for the answer.

        The threads keep the processes busy whatever the taker of the results is at.
        """
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.count)
        return self._threads.submit(self._attempt, function, item)

    def _attempt(self, function: Callable[[Item], Result], item: Item) -> Result:
        """The result of an item, from the first process or the second."""
        process = self._idle.get()
        try:
            return process.call(function, item)
        except WorkerDied as error:
            message = f"{error}; the item that it was at is done again: {_shown(item)}"
            print(message, file=sys.stderr)
            # One at a time, since several together may have been too much for the memory.
            with self._trying_again:
                try:
                    return process.call(function, item)
                except WorkerDied as again:
                    raise WorkerDied(f"{_shown(item)}: {DEADLY} ({again})") from again
        finally:
            self._idle.put(process)


def _first_done(futures: Sequence[Future[Any]]) -> int:
    """The place of a future that is done, waiting for one."""
    wait(futures, return_when=FIRST_COMPLETED)
    return next(place for place, future in enumerate(futures) if future.done())


def _outcome(index: int, item: Item, future: Future[Result]) -> Outcome[Item, Result]:
    """The outcome of an item, waiting for it."""
    try:
        return Outcome(index, item, future.result())
    except SetupError as error:
        raise error.reason from error.reason.__cause__
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Outcome(index, item, None, error)


def _shown(item: object) -> str:
    """An item for a message."""
    return repr(item)[:200]
