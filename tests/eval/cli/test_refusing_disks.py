"""What `hh-eval` writes to a disk that is full, and to a folder that cannot be written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from eval.cli.main import main
from tests.support.refusing_disks import full_disk, needs_limits, read_only

pytestmark = needs_limits


@pytest.mark.parametrize("refused", ["full", "read-only"])
def test_a_disk_that_refuses_is_told_and_leaves_no_summary(
    refused: str,
    make_speech: Callable[..., np.ndarray],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And once there is room the same command does its work."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for seed in range(2):
        soundfile.write(clips / f"{seed}.wav", make_speech(1.2, seed=seed), 24_000)
    out = tmp_path / "out"
    out.mkdir()
    command = ["codec", str(clips), str(clips), "--out", str(out), "--metrics", "mel_l1", "--json"]
    with full_disk(300) if refused == "full" else read_only(out):
        status = main(command)
    told = capsys.readouterr().err
    assert status == 1, told
    assert ("too large" if refused == "full" else "Permission denied") in told
    assert "Traceback" not in told
    left = {path.name for path in out.rglob("*")}
    assert not left & {"summary.json", "report.html"}, left
    assert main(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert next(iter(printed["metrics"].values()))["n_ok"] == 2
