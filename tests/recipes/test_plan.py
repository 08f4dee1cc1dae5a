from __future__ import annotations

import json
from typing import Any

import pytest

from codec import CodecConfig, HHCodec
from codec.discriminators import Discriminators
from codec.phases import DiscriminatorConfig
from recipes.accelerators import accelerator
from recipes.codec_work import (
    codec_memory,
    codec_step_seconds,
    codec_work,
    count_kept,
    kept_bytes,
)
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


def test_eight_gpus_share_a_codecs_crops(capsys: pytest.CaptureFixture[str]) -> None:
    one, eight = (
        plan(capsys, "codec", "--preset", "tiny", "--crop-codes", "8", "--gpus", count)
        for count in ("1", "8")
    )
    assert 6 < one["step_seconds"] / eight["step_seconds"] < 8
    assert one["activations_gb"] > 3 * eight["activations_gb"]
    assert one["weights_gb"] == eight["weights_gb"]
    assert "exchange_gb" not in one
    parts = ("weights", "gradients", "optimizer", "averages", "teacher", "exchange", "activations")
    assert eight["memory_gb"] == pytest.approx(sum(eight[f"{part}_gb"] for part in parts))
    assert eight["device_hours"] == pytest.approx(8 * eight["hours"])


def test_crops_that_gpus_cannot_share_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codec", "--gpus", "7"]) == 2
    assert "expected a multiple of 7 processes" in capsys.readouterr().err
    assert main(["codec", "--gpus", "8", "--nodes", "3"]) == 2
    assert "gpus: expected a multiple of 3 nodes, got 8" in capsys.readouterr().err


@pytest.mark.parametrize("bf16", [False, True])
def test_activations_of_a_codec_are_what_autograd_keeps(bf16: bool) -> None:
    """Planned from two short crops, counted on a longer one."""
    critics = DiscriminatorConfig(periods=(2,), n_ffts=(512,), channels=4)
    work = codec_work("tiny", critics, 8, teacher=False)
    kept = kept_bytes("tiny", critics, bf16=bf16)
    codec = HHCodec(CodecConfig.preset("tiny"))
    codec.quantizer.start()
    counted = count_kept(codec, Discriminators(critics), 40, bf16=bf16)
    planned = codec_memory(work, kept, crops=5, crop_codes=40, devices=5)
    assert planned.activations == pytest.approx(counted, rel=0.05)
    assert planned.weights == 4 * (work.parameters + work.critics)


def test_a_slow_link_shows() -> None:
    critics = DiscriminatorConfig(periods=(), n_ffts=(512,), channels=4)
    work = codec_work("tiny", critics, 8, teacher=False)
    device = accelerator("h100")
    fast, slow = (
        codec_step_seconds(work, 8, 4, device, efficiency=0.2, link_gbs=link) for link in (450, 1)
    )
    moved = 1.5 * 4 * (work.parameters + work.critics)
    assert slow - fast == pytest.approx(moved / 1e9 - moved / 450e9)


def test_the_work_of_a_codec_grows_with_the_crop() -> None:
    critics = DiscriminatorConfig(periods=(), n_ffts=(512,), channels=4)
    short, long = (codec_work("tiny", critics, codes, teacher=True) for codes in (8, 16))
    assert long.step == pytest.approx(2 * short.step, rel=0.05)
    assert short.step == 3 * short.generator + 7 * short.discriminators + short.teacher
    assert short.teacher == pytest.approx(14e9 * 8 * 1024 / 24_000)


def test_measuring_needs_one_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slm", "--hours", "1", "--calibrate"]) == 2
    assert "expected --gpus 1" in capsys.readouterr().err
