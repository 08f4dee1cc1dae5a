from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codec.runtime.run_lock import InUseError, holder_of, locked

ROOT = Path(__file__).resolve().parents[3]
HOLDS = """
import sys, time
from pathlib import Path
from codec.runtime.run_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_with_the_first_ones_name_until_it_is_killed(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        holder = rf"in use by process {other.pid} on \S+, which began"
        with pytest.raises(InUseError, match=holder), locked(tmp_path):
            pass
        assert f"process {other.pid} " in str(holder_of(tmp_path))
        other.send_signal(signal.SIGKILL)
        other.wait()
    # What it left behind is no lock.
    assert json.loads((tmp_path / ".lock.json").read_text())["pid"] == other.pid
    assert holder_of(tmp_path) is None
    with locked(tmp_path):
        assert json.loads((tmp_path / ".lock.json").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_free_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass
