import threading
from collections.abc import Iterator

import pytest

from slm.training.microbatches import read_ahead


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("read-ahead")]


def test_items_come_in_order_made_by_one_thread_that_ends_with_them() -> None:
    makers: set[str] = set()

    def items() -> Iterator[int]:
        for number in range(5):
            makers.add(threading.current_thread().name)
            yield number

    assert list(read_ahead(items())) == [0, 1, 2, 3, 4]
    assert len(makers) == 1
    assert makers.isdisjoint({threading.current_thread().name})
    assert not threads()


def test_exactly_one_item_is_made_ahead() -> None:
    made: list[int] = []
    begun = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            begun[number].set()
            yield number

    ahead = read_ahead(items())
    for number in range(3):
        assert next(ahead) == number
        assert begun[number + 1].wait(timeout=30)
        assert made == list(range(number + 2))
    ahead.close()


def test_an_error_reaches_the_caller_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 7
        raise OSError("cannot be read")

    ahead = read_ahead(items())
    assert next(ahead) == 7
    with pytest.raises(OSError, match="cannot be read"):
        next(ahead)
    assert not threads()


def test_closing_early_ends_the_thread() -> None:
    ahead = read_ahead(iter(range(100)))
    assert next(ahead) == 0
    assert threads()
    ahead.close()
    assert not threads()
