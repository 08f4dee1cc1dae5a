"""Calls in processes of their own, and how processes end."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from codec.runtime.answers import leave_with_parent
from codec.runtime.processes import (
    THREAD_VARIABLES,
    WorkerDied,
    run_in_process,
    thread_limit,
)
from tests.codec.runtime.worker_scripts import command, environment, printed


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


def test_a_status_that_another_thread_has_fetched_is_waited_for(monkeypatch):
    """As between a poll's wait for the process and its note of how that ended."""
    real, reads = BaseProcess.exitcode.__get__, []

    def late(self):
        reads.append(self)
        return None if len(reads) < 4 else real(self)

    monkeypatch.setattr(BaseProcess, "exitcode", property(late))
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
