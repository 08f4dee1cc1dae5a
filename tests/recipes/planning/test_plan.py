from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import recipes.planning.plan
from codec.training.config import DiscriminatorConfig
from recipes.planning.accelerators import accelerator
from recipes.planning.codec_cost import (
    CodecWork,
    codec_memory,
    codec_step_seconds,
    codec_work,
    count_kept,
    kept_bytes,
    loader_workers,
    planned_networks,
)
from recipes.planning.plan import main

CONFIGS = Path(__file__).resolve().parents[3] / "recipes" / "configs"


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


def test_a_model_that_does_not_fit_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["slm", "--hours", "10", "--model", "large", "--gpu", "A10"]
    assert plan(capsys, *arguments)["fits"].startswith("NO")
    assert main(["slm", "--hours", "10"]) == 0
    assert "fits                     yes, 80 GB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (["--model", "medium", "--gpu", "H100"], "batch_size 16, accumulate 4"),
        (["--model", "base", "--gpu", "RTX-4090"], "batch_size 16, accumulate 4"),
        (["--model", "large", "--gpu", "A10"], "batch_size 1, accumulate 64, recompute"),
    ],
)
def test_the_accumulation_that_makes_a_run_fit_is_named(
    capsys: pytest.CaptureFixture[str], sizes: list[str], expected: str
) -> None:
    found = plan(capsys, "slm", "--hours", "555", "--gpus", "1", *sizes)
    assert found["fits"].startswith("NO")
    assert expected in found["fits_with"]


def test_a_plan_from_a_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--model", "tiny", "--seq-len", "256", "--batch-size", "1", "--gpus", "1"]
    found = plan(capsys, "slm", "--hours", "1", *sizes, "--no-bf16", "--calibrate")
    assert found["device"].startswith(("cpu", "NVIDIA"))
    assert found["sustained_tflops"] > 0
    assert found["step_seconds"] > 0


def test_a_plan_of_a_codec_adds_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = DiscriminatorConfig(periods=(), n_ffts=(512,), channels=4)
    monkeypatch.setattr(recipes.planning.plan, "DISCRIMINATORS", small)
    sizes = ["--preset", "tiny", "--crop-codes", "4", "--gpus", "8", "--price", "2"]
    found = plan(capsys, "codec", *sizes)
    parts = ("weights", "gradients", "optimizer", "averages", "teacher", "exchange", "activations")
    assert found["memory_gb"] == pytest.approx(sum(found[f"{part}_gb"] for part in parts))
    assert found["fits"].startswith("yes")
    assert found["hours"] == pytest.approx(found["steps"] * found["step_seconds"] / 3600)
    assert found["cost"] == pytest.approx(16 * found["hours"])


def test_as_many_processes_read_ahead_as_keep_a_device_busy() -> None:
    work = CodecWork(0.0, 0.0, 0.0, 0, 0, seconds=2.0)
    # 48 crops of 2 s in 8 parts every 0.1 s are 120 s of audio a second, and half as much to spare.
    assert loader_workers(work, 48, 8, 0.1, 2000.0) == 1
    assert loader_workers(work, 48, 8, 0.1, 50.0) == 4


def test_devices_share_a_codecs_crops_and_exchange_gradients() -> None:
    discriminators = DiscriminatorConfig(periods=(), n_ffts=(512,), channels=4)
    work = codec_work(*planned_networks("tiny", discriminators), 8, teacher=True)
    both = work.trained_parameters
    one, eight = (codec_memory(work, (1e6, 1e5), 48, 8, devices) for devices in (1, 8))
    assert (one.activations, eight.activations) == (1e6 + 48 * 8e5, 1e6 + 6 * 8e5)
    assert one.weights + one.gradients + one.optimizer == eight.total - sum(
        (eight.averages, eight.teacher, eight.exchange, eight.activations)
    )
    assert one.weights == 4 * both
    assert (one.exchange, eight.exchange) == (
        0.0,
        4 * max(work.parameters, work.discriminator_parameters),
    )
    device, fast = accelerator("h100"), 1e9
    seconds = [
        codec_step_seconds(work, 48, devices, device, efficiency=0.2, link_gbs=link)
        for devices, link in ((1, fast), (8, fast), (8, 1.0))
    ]
    compute = 48 * work.step / (989e12 * 0.2)
    weights = 28 * both + 12 * work.parameters
    assert seconds[0] == pytest.approx(compute + weights / 3350e9)
    assert seconds[1] == pytest.approx(compute / 8 + (weights + 16 * both) / 3350e9)
    assert seconds[2] - seconds[1] == pytest.approx(2 * 7 / 8 * 4 * both / 1e9, rel=1e-6)


def test_crops_that_gpus_cannot_share_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codec", "--gpus", "7"]) == 2
    assert "expected a multiple of 7 processes" in capsys.readouterr().err
    assert main(["codec", "--gpus", "8", "--nodes", "3"]) == 2
    assert "gpus: expected a multiple of 3 nodes, got 8" in capsys.readouterr().err


@pytest.mark.parametrize("bf16", [False, True])
def test_activations_of_a_codec_are_what_autograd_keeps(bf16: bool) -> None:
    """Planned from two short crops, counted on a longer one."""
    discriminators = DiscriminatorConfig(periods=(2,), n_ffts=(512,), channels=4)
    networks = planned_networks("tiny", discriminators)
    work = codec_work(*networks, 8, teacher=False)
    kept = kept_bytes(*networks, bf16=bf16)
    counted = count_kept(*networks, 40, bf16=bf16)
    planned = codec_memory(work, kept, crops=5, crop_codes=40, devices=5)
    assert planned.activations == pytest.approx(counted, rel=0.05)
    assert planned.weights == 4 * (work.trained_parameters)


def test_the_work_of_a_codec_grows_with_the_crop() -> None:
    discriminators = DiscriminatorConfig(periods=(), n_ffts=(512,), channels=4)
    networks = planned_networks("tiny", discriminators)
    short, long = (codec_work(*networks, codes, teacher=True) for codes in (8, 16))
    assert long.step == pytest.approx(2 * short.step, rel=0.05)
    assert short.step == 3 * short.generator + 7 * short.discriminators + short.teacher
    assert short.teacher == pytest.approx(14e9 * 8 * 1024 / 24_000)


def test_measuring_needs_one_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slm", "--hours", "1", "--calibrate"]) == 2
    assert "expected --gpus 1" in capsys.readouterr().err
