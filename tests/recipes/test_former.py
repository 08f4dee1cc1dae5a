from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from runpy import run_module

import pytest

from recipes.former import NEW_NAMES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("old", "new"), NEW_NAMES.items())
def test_a_command_runs_under_its_former_name(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [old, "--help"])
    monkeypatch.delitem(sys.modules, new, raising=False)
    with pytest.raises(SystemExit, match="0"):
        run_module(old, run_name="__main__", alter_sys=True)
    assert f"python -m {new}" in capsys.readouterr().out


def test_the_interpreter_runs_a_former_name() -> None:
    command = [sys.executable, "-m", "recipes.transfer", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "python -m recipes.storage.transfer" in shown
