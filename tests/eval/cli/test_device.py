from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eval.cli.main import main
from eval.weights import DEVICE


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:7"])
def test_a_device_that_is_not_here_is_refused_in_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, device: str
) -> None:
    call = ["codec", str(tmp_path), str(tmp_path), "--metrics", "stoi", "--device", device]
    assert main(call) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: device '{device}' cannot be used: ")
    assert len(error.splitlines()) == 1


def test_workers_find_the_device_in_their_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from eval.weights import metric_device, use_device

    monkeypatch.delenv(DEVICE, raising=False)
    assert metric_device() == torch.device("cpu")
    monkeypatch.setenv(DEVICE, "cuda:1")
    assert metric_device() == torch.device("cuda", 1)
    use_device("cpu")
    assert metric_device() == torch.device("cpu")
