"""Worker processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

from eval.scoring.workers import VARIABLES, leave_with_parent, one_thread_each

ROOT = Path(__file__).parents[3]
PARENT = """
import multiprocessing, os, time
from eval.scoring.workers import leave_with_parent

def work(pipe):
    leave_with_parent()
    pipe.send(os.getpid())
    time.sleep(60)

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=work, args=(theirs,)).start()
    print(ours.recv(), flush=True)
    time.sleep(60)
"""


def test_children_get_one_thread_and_the_environment_is_put_back(monkeypatch):
    monkeypatch.setenv(VARIABLES[0], "7")
    monkeypatch.delenv(VARIABLES[1], raising=False)
    with one_thread_each():
        assert {os.environ[name] for name in VARIABLES} == {"1"}
    assert os.environ[VARIABLES[0]] == "7"
    assert VARIABLES[1] not in os.environ


def test_a_worker_ends_when_its_parent_is_killed(tmp_path):
    """A run that was killed left its workers, and their memory, behind for good."""
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(process):
    """Whether a process is there and no zombie that waits to be buried."""
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return status != "Z"


def test_a_process_of_its_own_goes_on():
    leave_with_parent()
