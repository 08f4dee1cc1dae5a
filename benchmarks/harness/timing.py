"""Timing in turns, so that other load on the machine slows all contestants alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from codec.checks import at_least

from .benchmark import Call

# A call that is shorter is repeated within a turn until it takes so long.
LEAST_SECONDS = 0.02
MOST_REPEATS = 10_000


@dataclass(frozen=True)
class Ratio:
    """Ratio of speeds with its spread."""

    value: float  # median of the ratios within a round, seconds of the other over those of ours
    low: float  # lower quartile of them
    high: float  # upper quartile
    rounds: int  # their number


def processor_seconds() -> float:
    """Measure the CPU seconds of this process and of the child processes that have ended.

    Other load on the machine changes them less than wall time; waiting for a disk is not counted.
    """
    try:
        import resource  # of POSIX alone: elsewhere the processes that were started are left out
    except ImportError:
        return time.process_time()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


# One thread is timed by its CPU seconds; several threads are there to save wall time.
CLOCKS: dict[str, Callable[[], float]] = {"processor": processor_seconds, "wall": time.perf_counter}


def clock_name(threads: int) -> str:
    """Choose the clock for so many threads, a key of CLOCKS."""
    return "processor" if threads == 1 else "wall"


def take_turns(
    calls: Mapping[str, Call],
    rounds: int,
    *,
    clock: Callable[[], float],
    warm: bool = True,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, list[float]]:
    """Time calls, one turn of each a round, beginning with another one every round.

    Args:
        calls: By name.
        rounds: Turns of each, at least 1.
        clock: Seconds.
        warm: Whether each is called before the first round; short calls are then repeated within a
            turn.
        progress: Called with the number of the round, in words.

    Returns:
        Seconds of one call, by name, one for every round.

    Raises:
        ValueError: No rounds.
    """
    at_least("rounds", rounds, 1)
    repeats = {name: _repeats(call, clock) if warm else 1 for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        # Rotated, as the first of a round may find caches and clock rates as others left them.
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            call, count = calls[name], repeats[name]
            start = clock()
            for _ in range(count):
                call()
            # A clock that has not moved would give a ratio of 0 / 0.
            seconds[name].append(max(clock() - start, 1e-9) / count)
    return seconds


def ratio(ours: Sequence[float], other: Sequence[float]) -> Ratio:
    """Compare seconds per unit of work round by round; above 1 where ours is faster.

    Raises:
        ValueError: No rounds, or not as many of both.
    """
    if not ours or len(ours) != len(other):
        raise ValueError(f"expected as many rounds of both, got {len(ours)} and {len(other)}")
    pairs = [theirs / own for own, theirs in zip(ours, other, strict=True)]
    if len(pairs) == 1:
        return Ratio(pairs[0], pairs[0], pairs[0], 1)
    low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive")
    return Ratio(middle, low, high, len(pairs))


def _repeats(call: Call, clock: Callable[[], float]) -> int:
    """Number of calls in a turn, by the time of the calls that warm it up."""
    for _ in range(2):
        start = clock()
        call()
        once = clock() - start
        if once >= LEAST_SECONDS:
            return 1
    return min(MOST_REPEATS, math.ceil(LEAST_SECONDS / max(once, 1e-9)))
