"""Pools of worker processes."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

import pytest

from codec.runtime.workers import IN_FLIGHT, Workers
from tests.codec.runtime.worker_scripts import printed, run


@pytest.mark.parametrize("count", [0, 2])
def test_results_come_in_the_order_of_the_items(count):
    items = list(range(40))
    with Workers(count) as workers:
        assert list(workers.map(math.sqrt, items)) == [math.sqrt(each) for each in items]
        assert list(workers.map(math.factorial, items))[5] == 120
        assert list(workers.map(math.sqrt, [])) == []


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_belongs_to_its_item_and_spares_the_others(count):
    items = [4, -1, 9, "x"]
    with Workers(count) as workers:
        outcomes = list(workers.outcomes(math.sqrt, items))
    assert [outcome.item for outcome in outcomes] == items
    assert [outcome.index for outcome in outcomes] == [0, 1, 2, 3]
    assert [outcome.result for outcome in outcomes] == [2.0, None, 3.0, None]
    assert [type(outcome.error) for outcome in outcomes[1::2]] == [ValueError, TypeError]
    with pytest.raises(ValueError, match=r"domain|nonnegative"):
        outcomes[1].value()
    if sys.version_info >= (3, 11):
        assert outcomes[1].error is not None
        assert outcomes[1].error.__notes__ == ["raised by item 1: -1"]


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_reaches_who_asked_for_results_alone(count):
    items = [4] * 20 + [-1] + [4] * 20
    with Workers(count) as workers, pytest.raises(ValueError, match=r"domain|nonnegative"):
        list(workers.map(math.sqrt, items))


def test_what_cannot_be_sent_is_an_error_of_the_item():
    with Workers(1) as workers:
        items: list[Any] = [-1, lambda: 0, -2]
        outcomes = list(workers.outcomes(abs, items))
    assert [outcome.result for outcome in outcomes] == [1, None, 2]
    assert outcomes[1].error is not None


def test_few_items_start_no_process():
    with Workers(2, spare_few=True) as workers:
        assert workers.works_here(2 * IN_FLIGHT - 1)
        assert not workers.works_here(2 * IN_FLIGHT)
        assert list(workers.map(abs, [-1])) == [1]
        assert all(process._process is None for process in workers._processes)
    assert not Workers(2).works_here(1)
    assert Workers(0).works_here(10**6)
    with pytest.raises(ValueError, match="count: expected"):
        Workers(-1)


def test_outcomes_may_come_as_items_are_done(tmp_path):
    main = """
items = [sys.argv[1] + str(number) for number in range(8)]
with Workers(2) as workers:
    found = []
    for outcome in workers.outcomes(first_after_others, items, in_order=False):
        found.append(outcome.value())
        if len(found) == 7:
            Path(sys.argv[1] + "taken").touch()
    print(*sorted(found), found[-1])
"""
    assert printed(tmp_path, main, f"{tmp_path}/mark") == "0 1 2 3 4 5 6 7 0"


def test_workers_are_set_up_once_and_share_the_cores(tmp_path):
    main = """
os.environ.pop("OMP_NUM_THREADS", None)
for count in (0, 1):
    with Workers(count, setup=load, setup_args=["mini"], threads=3) as workers:
        print(*workers.map(use, [1]), *workers.map(use, [2]))
        print(workers.alone(use, 3))
print(os.environ.get("OMP_NUM_THREADS"))
"""
    assert printed(tmp_path, main).splitlines() == [
        "['mini'] 1 None ['mini'] 2 None",
        "['mini'] 3 3",
        "['mini'] 1 3 ['mini'] 2 3",
        "['mini'] 3 3",
        "None",
    ]


@pytest.mark.parametrize("count", [0, 2])
def test_what_was_loaded_in_this_process_is_dropped_behind_the_last_item(count):
    loaded: list[str] = []
    with Workers(
        count, setup=loaded.append, setup_args=["mini"], teardown=loaded.clear, spare_few=True
    ) as workers:
        assert list(workers.map(abs, [-1])) == [1]
        assert loaded == ["mini"]
        assert list(workers.map(abs, [-2])) == [2]
        assert loaded == ["mini"]
    assert loaded == []


def test_only_what_was_loaded_is_dropped_also_where_loading_fails():
    dropped: list[str] = []
    with Workers(0, setup=int, setup_args=["x"], teardown=partial(dropped.append, "unused")):
        pass
    assert dropped == []
    failing = Workers(0, setup=int, setup_args=["x"], teardown=partial(dropped.append, "failed"))
    with failing as workers, pytest.raises(ValueError, match="'x'"):
        list(workers.map(abs, [-1]))
    assert dropped == ["failed"]


def test_each_worker_has_a_number_to_choose_a_device_by(tmp_path):
    main = """
with Workers(2) as workers:
    print(worker_number(), *sorted(set(workers.map(numbered, [sys.argv[1]] * 8))))
"""
    (tmp_path / "numbers").mkdir()
    assert printed(tmp_path, main, str(tmp_path / "numbers")) == "0 0 1"


@pytest.mark.parametrize(
    ("name", "error"), [("wrong", "ValueError: no such model"), ("deadly", "(exit status 7)")]
)
def test_workers_that_cannot_be_set_up_are_an_error_at_once(tmp_path, name, error):
    main = """
with Workers(2, setup=load, setup_args=sys.argv[1:]) as workers:
    list(workers.outcomes(use, range(40)))
"""
    result = run(tmp_path, main, name)
    assert result.returncode == 1
    assert error in result.stderr.strip().splitlines()[-1]


def test_items_that_end_their_worker_cost_no_other_item(tmp_path):
    main = """
with Workers(2) as workers:
    print(list(workers.map(fatal, range(40), deadly=lambda item: -item)))
    for each in workers.outcomes(fatal, [1, 3]):
        print(each.result, type(each.error).__name__, each.error)
    try:
        workers.alone(fatal, 20)
    except WorkerDied as error:
        print(error)
    print(workers.alone(fatal, 2))
"""
    result = run(tmp_path, main)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == str([-each if each in (3, 20) else each * each for each in range(40)])
    assert lines[1] == "1 NoneType None"
    assert lines[2].startswith("None WorkerDied 3: the process that worked on it died, and died")
    assert "exit status 9" in lines[3]
    assert lines[4] == "4"
    assert "done again: 3" in result.stderr


def test_an_item_that_only_once_ended_its_worker_is_done(tmp_path):
    main = """
with Workers(1) as workers:
    print(*workers.map(fatal_once, [sys.argv[1]]))
"""
    assert printed(tmp_path, main, str(tmp_path / "mark")) == "done"


def test_a_worker_that_dies_is_an_error_that_names_the_item(tmp_path):
    main = """
with Workers(2) as workers:
    list(workers.map(fatal, range(40)))
"""
    result = run(tmp_path, main)
    assert result.returncode == 1
    assert "WorkerDied: 3: the process that worked on it died" in result.stderr


def test_errors_that_cannot_be_sent_are_told_in_words(tmp_path):
    main = """
with Workers(1) as workers:
    for function in (odd, unsendable, leave):
        error = next(workers.outcomes(function, [1])).error
        print(type(error).__name__, str(error).splitlines()[0])
"""
    lines = printed(tmp_path, main).splitlines()
    assert lines[0].startswith("RuntimeError OddError: 1 and more (which cannot be sent")
    assert lines[1].startswith("RuntimeError result (which cannot be sent")
    assert lines[2] == "SystemExit 3"


def test_who_stops_listening_leaves_no_process_behind(tmp_path):
    main = """
with Workers(2) as workers:
    for number in workers.map(process, range(100)):
        break
os.kill(number, 0)
"""
    result = run(tmp_path, main)
    assert "ProcessLookupError" in result.stderr


def test_an_error_of_the_caller_ends_the_pool(tmp_path):
    main = """
with Workers(2) as workers:
    for each in workers.map(square, range(1000)):
        raise KeyError("enough")
"""
    result = run(tmp_path, main)
    assert "KeyError: 'enough'" in result.stderr
