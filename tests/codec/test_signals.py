"""Commands that are asked to end by a signal."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codec.command_line import exit_status

WAITING = """
import signal, sys, tempfile, time
from pathlib import Path
# under nohup the parent ignores it, and so would its child
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from codec.command_line import exit_status
from codec.files import whole_file

def work():
    with tempfile.TemporaryDirectory(dir=".") as folder, whole_file("out.txt") as partial:
        partial.write_text("half")
        print("ready", flush=True)
        try:
            time.sleep(30)
        except {caught}:
            pass
        else:
            raise AssertionError
        return 0

sys.exit(exit_status(work, again="tool"))
"""


def ended_by(number: int, folder: Path, caught: str = "ZeroDivisionError") -> tuple[int, str]:
    """Status and standard error of a process that is sent a signal, twice, while it writes."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING.format(caught=caught)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    return process.returncode, error


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_command_that_is_asked_to_end_says_so_and_leaves_nothing_behind(
    name: str, status: int, tmp_path: Path
) -> None:
    expected = status, f"error: ended by {name}; go on with: tool\n"
    assert ended_by(getattr(signal, name), tmp_path) == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_a_library_that_returns_at_an_interrupt_does_not_make_its_end_a_success(
    tmp_path: Path,
) -> None:
    status, error = ended_by(signal.SIGTERM, tmp_path, caught="KeyboardInterrupt")
    assert (status, error) == (143, "error: ended by SIGTERM; go on with: tool\n")


def test_handlers_are_those_of_before_and_a_parents_are_no_forked_childs() -> None:
    def work() -> int:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        return os.waitpid(child, 0)[1]

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert exit_status(work) == signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert exit_status(lambda: int(signal.getsignal(signal.SIGTERM) is signal.SIG_IGN)) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
