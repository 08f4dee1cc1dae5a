import subprocess
import sys
import time

import pytest

from benchmarks.harness.timing import CLOCKS, clock_name, processor_seconds, ratio, take_turns


def test_contestants_take_turns_and_another_one_begins_every_round(clock):
    calls = {name: clock.work(name, 1.0) for name in "abc"}
    take_turns(calls, 4, clock=clock, warm=False)
    assert "".join(clock.log) == "abc" + "bca" + "cab" + "abc"


def test_the_warm_up_is_called_but_not_counted(clock):
    seconds = take_turns({"a": clock.work("a", 9.0, 1.0, 2.0)}, 2, clock=clock)
    assert seconds == {"a": [1.0, 2.0]}
    assert len(clock.log) == 3


def test_short_calls_are_repeated_and_counted_as_one(clock):
    seconds = take_turns({"a": clock.work("a", 0.5, 0.004)}, 1, clock=clock)
    assert len(clock.log) == 2
    assert seconds == {"a": [pytest.approx(0.004)]}
    clock.log.clear()
    seconds = take_turns({"a": clock.work("a", 0.004)}, 3, clock=clock)
    assert len(clock.log) == 2 + 3 * 5
    assert seconds == {"a": [pytest.approx(0.004)] * 3}


def test_a_ratio_is_the_median_of_those_within_the_rounds_with_their_quartiles():
    found = ratio([1.0, 2.0, 1.0, 4.0, 2.0], [4.0, 4.0, 3.0, 4.0, 8.0])
    # Within the rounds: 4, 2, 3, 1, 4.
    assert (found.value, found.low, found.high, found.rounds) == (3.0, 2.0, 4.0, 5)
    single = ratio([2.0], [3.0])
    assert (single.value, single.low, single.high) == (1.5, 1.5, 1.5)


def test_rounds_that_do_not_match_are_refused(clock):
    with pytest.raises(ValueError, match="as many rounds of both, got 1 and 2"):
        ratio([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="rounds: expected a number >= 1, got 0"):
        take_turns({"a": clock.work("a", 1.0)}, 0, clock=clock)


def test_one_thread_is_timed_by_its_work_and_that_of_its_children():
    assert (clock_name(1), clock_name(2)) == ("processor", "wall")
    assert set(CLOCKS) == {"processor", "wall"}
    start = processor_seconds()
    time.sleep(0.2)
    slept = processor_seconds() - start
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert processor_seconds() - start > slept
    assert slept < 0.2
