from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.runner.workers import Workers

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    items = list(range(40))
    with Workers(count) as workers:
        assert list(workers.map(math.sqrt, items, "roots")) == [math.sqrt(each) for each in items]
        assert list(workers.map(math.factorial, items, "again"))[5] == 120


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_in_a_worker_reaches_the_caller(count: int) -> None:
    items = [4] * 20 + [-1] + [4] * 20
    with Workers(count) as workers, pytest.raises(ValueError, match=r"domain|nonnegative"):
        list(workers.map(math.sqrt, items, "roots"))


SLEEPERS = """
import time
from recipes.runner.workers import Workers
if __name__ == "__main__":
    with Workers(2) as workers:
        for _ in workers.map(time.sleep, [0.01] * 2 + [600] * 30, "sleeping"):
            print("at work", flush=True)
"""


DEADLY = """
import os, sys
from recipes.runner.workers import Workers

def work(item):
    if item in (3, 20):
        os._exit(9)
    return item * item

def died(item):
    return -item

if __name__ == "__main__":
    with Workers(2) as workers:
        if sys.argv[1] == "listed":
            print(list(workers.map(work, range(40), "working", deadly=died)))
        else:
            list(workers.map(work, range(40), "working"))
"""


def run_deadly(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = folder / "deadly.py"
    script.write_text(DEADLY)
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_items_that_end_their_worker_cost_no_other_item(tmp_path: Path) -> None:
    result = run_deadly(tmp_path, "listed")
    assert result.returncode == 0, result.stderr
    squares = [-item if item in (3, 20) else item * item for item in range(40)]
    assert result.stdout.strip() == str(squares)
    assert "a worker process died" in result.stderr


def test_a_worker_that_dies_is_an_error_where_nobody_says_what_to_do(tmp_path: Path) -> None:
    result = run_deadly(tmp_path, "raised")
    assert result.returncode == 1
    assert "BrokenProcessPool" in result.stderr


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "at work\n"
        workers = children_of(parent.pid)
        assert len(workers) >= 2
        parent.kill()
    deadline = time.monotonic() + 30
    while any(map(is_running, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
