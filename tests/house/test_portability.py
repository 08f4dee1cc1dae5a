"""What Windows and macOS do not have is asked for in listed places alone, each behind a question.

Nothing here runs on those systems: modules are read, and what is missing there is taken away.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.sources import ROOT, modules

PACKAGES = ("codec", "slm", "eval", "recipes", "benchmarks")
# Modules that Windows has not.
OF_POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# What `os` and `signal` lack on Windows, on macOS, or on both.
LACKING = {
    "os": (
        "chown chroot fchmod fchown fdatasync fork forkpty getegid geteuid getgid getloadavg "
        "getpgid getpgrp getuid killpg lchown mkfifo nice posix_fadvise posix_fallocate "
        "posix_spawn pread pwrite register_at_fork sched_getaffinity sched_setaffinity "
        "sendfile setpgid setsid statvfs uname wait waitpid O_ACCMODE O_CLOEXEC O_DIRECTORY "
        "O_NOFOLLOW O_NONBLOCK O_SYNC"
    ),
    "signal": (
        "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGUSR1 SIGUSR2 alarm pause pthread_kill "
        "pthread_sigmask setitimer"
    ),
}
# Where the code has asked beforehand whether it is there, and does without it otherwise.
ASKED = {
    ("codec/files/atomic.py", "os.uname"),
    ("codec/files/reading.py", "os.O_ACCMODE"),  # of the folder /dev/fd, which Windows has not
    ("codec/provenance.py", "os.sched_getaffinity"),
    ("slm/engines/native_build.py", "os.geteuid"),
    ("recipes/storage/backup.py", "os.killpg"),
}


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Every module of ours, by its path from the root."""
    for name, path in modules(*PACKAGES):
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imported_at_once(tree: ast.Module) -> set[str]:
    """Top-level modules that the import of a module needs."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").partition(".")[0])
    return names


def test_no_module_needs_a_module_of_posix_to_be_imported() -> None:
    found = {path: imported_at_once(tree) & OF_POSIX for path, tree in trees()}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_a_system_may_lack_is_used_in_listed_places_alone() -> None:
    used = {
        (path, f"{node.value.id}.{node.attr}")
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.attr in LACKING.get(node.value.id, "").split()
    }
    assert used == ASKED


# As on Windows, as far as another system can be made to look like it: no modules of POSIX and none
# of those names. Other packages are imported before, since they go by `sys.platform`, which stays.
WITHOUT = """
{first}
import os, pathlib, signal, sys
for name in {modules!r}:
    sys.modules[name] = None
for module, names in {lacking!r}:
    for name in names:
        if hasattr(sys.modules[module], name):
            delattr(sys.modules[module], name)
"""


@pytest.mark.parametrize(
    ("first", "lines"),
    [
        # 1. Peaks of memory are unknown, and nothing else of the benchmark is lost.
        (
            "",
            "import codec.bench.memory as memory\n"
            "memory.STATUS = memory.CLEAR = pathlib.Path('absent')\n"
            "assert memory.resident_mib('VmRSS') is None\n"
            "assert memory.process_peak_memory() is None",
        ),
        # 2. A benchmark's clock leaves out the processes that were started.
        (
            "",
            "from benchmarks.harness.timing import processor_seconds\n"
            "assert 0 < processor_seconds() < 100",
        ),
        # 3. Every command imports.
        (
            "import lightning.pytorch, huggingface_hub, scipy.signal, sentencepiece, soundfile",
            "import codec.cli.main, slm.cli.main, eval.cli.main, recipes.run_all\n"
            "import codec.bench.codecs, recipes.storage.backup, recipes.planning.check_plan",
        ),
    ],
    ids=["memory", "clock", "commands"],
)
def test_it_runs_without_what_windows_lacks(first: str, lines: str) -> None:
    modules = sorted(OF_POSIX - {"posix"})  # what `os` itself is made of here
    lacking = [(module, names.split()) for module, names in LACKING.items()]
    script = WITHOUT.format(first=first, modules=modules, lacking=lacking) + lines
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
