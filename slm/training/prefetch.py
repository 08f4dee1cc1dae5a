"""One item made ahead by a thread, while what was made before is worked on."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def read_ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items in the same order, each made while the one before is in use.

    The thread ends with the items, with an error, which is raised where the item was asked for, or
    when this generator is closed; then it first makes what it has begun.

    Args:
        items: Asked for one at a time, by the thread alone.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        waiting = thread.submit(next, items, _END)
        while (item := waiting.result()) is not _END:
            waiting = thread.submit(next, items, _END)
            yield item  # type: ignore[misc]
