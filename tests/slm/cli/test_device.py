from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slm.cli.main import main

COMMANDS = {
    "tts": ["tts", "Good.", "-o", "out.wav"],
    "continue": ["continue", "start.wav", "-o", "out.wav"],
    "score": ["score", "take.wav"],
    "bench": ["bench", "generate"],
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:7"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_not_here_is_refused_in_a_line_before_a_model_is_read(
    capsys: pytest.CaptureFixture[str], command: str, device: str
) -> None:
    """Neither the recordings nor the model folder of the call are there."""
    models = [] if command == "bench" else ["--lm", "nowhere"]
    assert main([*COMMANDS[command], *models, "--device", device]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: device '{device}' cannot be used: ")
    assert len(printed.err.splitlines()) == 1


def test_auto_is_the_processor_where_there_is_no_gpu(
    model_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    codec, lm = map(str, model_folders)
    made = []
    for device in ("cpu", "auto"):
        out = tmp_path / f"{device}.wav"
        call = ["tts", "the quick brown fox", "-o", str(out), "--codec", codec, "--lm", lm]
        assert main([*call, "--device", device]) == 0
        made.append(out.read_bytes())
    if not torch.cuda.is_available():
        assert made[0] == made[1]
