"""Pools of worker processes, and calls in processes of their own."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codec.runtime.processes import (
    THREAD_VARIABLES,
    WorkerDied,
    leave_with_parent,
    run_in_process,
    thread_limit,
)
from codec.runtime.workers import IN_FLIGHT, Workers

ROOT = Path(__file__).resolve().parents[3]
# What workers call must be importable by name, which what pytest loads is not.
FUNCTIONS = """
import os, sys, time
from pathlib import Path
from typing import Any
from codec.files import whole_file
from codec.runtime.processes import WorkerDied, run_in_process
from codec.runtime.workers import Workers

MODEL = []

class OddError(ValueError):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")

def load(name):
    if name == "wrong":
        raise ValueError("no such model")
    if name == "deadly":
        os._exit(7)
    MODEL.append(name)

def use(item):
    return f"{MODEL} {item} {os.environ.get('OMP_NUM_THREADS')}"

def square(item):
    return item * item

def first_after_last(path):
    if path.endswith("0"):
        while not Path(path[:-1] + "7").exists():
            time.sleep(0.01)
    Path(path).touch()
    return path[-1]

def process(item):
    return os.getpid()

def fatal(item):
    if item in (3, 20):
        os._exit(9)
    return item * item

def fatal_once(path):
    if not Path(path).exists():
        Path(path).touch()
        os._exit(9)
    return "done"

def odd(item):
    raise OddError(item, "more")

def unsendable(item):
    return lambda: item

def wrong(item):
    if item == 5:
        raise ValueError(f"{item} is wrong")
    return item

def leave(item):
    raise SystemExit(3)

def write_slowly(path):
    with whole_file(path) as partial:
        os.write(1, b"at work\\n")  # whole, beside what another process writes
        time.sleep(600)
    return path
"""


def run(folder: Path, main: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the lines of a main program in a script that has the functions above."""
    return subprocess.run(
        command(folder, main, *arguments),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def command(folder: Path, main: str, *arguments: str) -> list[str]:
    script = folder / "script.py"
    body = "".join(f"    {line}\n" for line in main.strip().splitlines())
    script.write_text(f'{FUNCTIONS}\nif __name__ == "__main__":\n{body}')
    return [sys.executable, str(script), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def printed(folder: Path, main: str, *arguments: str) -> str:
    result = run(folder, main, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


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
    found = [each.value() for each in workers.outcomes(first_after_last, items, in_order=False)]
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


def test_a_call_in_a_process_of_its_own_returns_raises_or_dies(tmp_path):
    main = """
print(run_in_process(process, 0) != os.getpid(), run_in_process(use, 1, threads=2))
for function, item in ((wrong, 5), (fatal, 3)):
    try:
        run_in_process(function, item)
    except (ValueError, WorkerDied) as error:
        print(type(error).__name__, error)
        print("in wrong" in str(error.__cause__))
"""
    lines = printed(tmp_path, main).splitlines()
    assert lines[0] == "True [] 1 2"
    assert lines[1:3] == ["ValueError 5 is wrong", "True"]
    assert lines[3].startswith("WorkerDied a worker process died")


def test_a_call_in_a_process_of_its_own_works_here():
    assert run_in_process(math.gcd, 12, 18) == 6
    with pytest.raises(ValueError, match=r"domain|nonnegative"):
        run_in_process(math.sqrt, -1)
    with pytest.raises(WorkerDied, match="exit status 5"):
        run_in_process(os._exit, 5)


def test_the_limit_of_threads_is_put_back(monkeypatch):
    monkeypatch.setenv(THREAD_VARIABLES[0], "7")
    monkeypatch.delenv(THREAD_VARIABLES[1], raising=False)
    with thread_limit(1):
        assert {os.environ[name] for name in THREAD_VARIABLES} == {"1"}
    with thread_limit(None):
        assert os.environ[THREAD_VARIABLES[0]] == "7"
    assert os.environ[THREAD_VARIABLES[0]] == "7"
    assert THREAD_VARIABLES[1] not in os.environ


def test_a_process_of_its_own_goes_on():
    leave_with_parent()


def children_of(pid: int) -> list[int]:
    """Processes that any thread of a process started."""
    paths = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in paths for child in path.read_text().split()]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie that waits to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_the_end_of(processes: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(map(is_running, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


SLEEPERS = """
with Workers(2) as workers:
    list(workers.map(write_slowly, [f"{sys.argv[1]}/{number}.txt" for number in range(30)]))
"""
ALONE = "run_in_process(write_slowly, sys.argv[1] + '/0.txt')"
PIPE = subprocess.PIPE


@pytest.fixture
def begin(
    tmp_path: Path,
) -> Iterator[Callable[[str, int], tuple[subprocess.Popen[str], list[int]]]]:
    """Starts a process whose `count` workers write to `out`; gives it and its children."""
    (tmp_path / "out").mkdir()
    started: list[subprocess.Popen[str]] = []

    def started_at_work(main: str, count: int) -> tuple[subprocess.Popen[str], list[int]]:
        # A shell has what it starts in the background ignore interrupts, and so would this.
        heeding = f"import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n{main}"
        parent = subprocess.Popen(
            command(tmp_path, heeding, str(tmp_path / "out")),
            env=environment(),
            stdout=PIPE,
            stderr=PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(parent)
        assert parent.stdout is not None
        for _ in range(count):
            assert parent.stdout.readline() == "at work\n"
        children = children_of(parent.pid)
        assert len(children) >= count
        return parent, children

    yield started_at_work
    for parent in started:
        parent.kill()
        parent.communicate()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_when_their_parent_is_killed(begin):
    """A run that was killed once left its workers, and their memory, behind for good."""
    parent, workers = begin(SLEEPERS, 2)
    parent.kill()
    wait_for_the_end_of(workers)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("everybody", [True, False], ids=["terminal", "parent alone"])
@pytest.mark.parametrize(("main", "count"), [(SLEEPERS, 2), (ALONE, 1)], ids=["pool", "call"])
def test_an_interrupt_ends_everything_and_leaves_no_litter(tmp_path, begin, main, count, everybody):
    parent, workers = begin(main, count)
    if everybody:  # as Ctrl-C in a terminal does
        os.killpg(parent.pid, signal.SIGINT)
    else:
        parent.send_signal(signal.SIGINT)
    errors = parent.communicate(timeout=60)[1]
    wait_for_the_end_of(workers)
    assert parent.returncode == -signal.SIGINT
    assert list((tmp_path / "out").iterdir()) == []
    assert "died" not in errors
    assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
