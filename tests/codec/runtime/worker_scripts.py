"""Scripts whose main programs have functions for workers to call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


# What workers call must be importable by name, which what pytest loads is not.
FUNCTIONS = """
import os, sys, time
from pathlib import Path
from typing import Any
from codec.files import whole_file
from codec.runtime.answers import worker_number
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

def numbered(folder):
    Path(folder, str(worker_number())).touch()
    while len(list(Path(folder).iterdir())) < 2:  # until the other one has answered, too
        time.sleep(0.01)
    return worker_number()

def square(item):
    return item * item

def first_after_others(path):
    # Until its caller has the outcomes of all others.
    while path.endswith("0") and not Path(path[:-1] + "taken").exists():
        time.sleep(0.01)
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
