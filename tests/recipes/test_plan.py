from __future__ import annotations

import json
from typing import Any

import pytest

from codec.phases import DiscriminatorConfig
from recipes.codec_work import codec_work
from recipes.plan import main


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_plan_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    found = plan(capsys, "slm", "--hours", "60000", "--model", "large", "--price", "2")
    assert found["hours"] == pytest.approx(found["steps"] * found["step_seconds"] / 3600)
    assert found["device_hours"] == pytest.approx(8 * found["hours"])
    assert found["cost"] == pytest.approx(2 * found["device_hours"])
    parts = ("weights", "gradients", "optimizer", "activations", "loss")
    assert found["memory_gb"] == pytest.approx(sum(found[f"{part}_gb"] for part in parts))


def test_a_model_that_does_not_fit_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["slm", "--hours", "10", "--model", "large", "--gpu", "A10"]
    assert plan(capsys, *arguments)["fits"].startswith("NO")
    assert main(["slm", "--hours", "10"]) == 0
    assert "fits                     yes, 80 GB" in capsys.readouterr().out


def test_a_plan_from_a_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--model", "tiny", "--seq-len", "256", "--batch-size", "1", "--gpus", "1"]
    found = plan(capsys, "slm", "--hours", "1", *sizes, "--no-bf16", "--calibrate")
    assert found["device"].startswith(("cpu", "NVIDIA"))
    assert found["sustained_tflops"] > 0
    assert found["step_seconds"] > 0


def test_the_codec_is_not_planned_on_more_devices_than_it_trains_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["codec", "--gpus", "8"]) == 2
    assert "trains on 1 device" in capsys.readouterr().err


def test_the_work_of_a_codec_grows_with_the_crop() -> None:
    critics = DiscriminatorConfig(periods=(), n_ffts=(512,), channels=4)
    short, long = (codec_work("tiny", critics, codes, teacher=True) for codes in (8, 16))
    assert long.step == pytest.approx(2 * short.step, rel=0.05)
    assert short.step == 3 * short.generator + 7 * short.discriminators + short.teacher
    assert short.teacher == pytest.approx(14e9 * 8 * 1024 / 24_000)


def test_measuring_needs_one_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slm", "--hours", "1", "--calibrate"]) == 2
    assert "expected --gpus 1" in capsys.readouterr().err
