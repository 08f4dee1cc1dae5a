"""The codec at scale fits its GPUs: a plan of networks of full size, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO

import pytest
import yaml

from recipes.planning.plan import main
from recipes.runner.config import load_config
from tests.support.sources import ROOT

CONFIGS = ROOT / "recipes" / "configs"


def check_the_codec_at_scale() -> None:
    path = CONFIGS / "scale" / "hh_24khz_8gpu.yaml"
    about = yaml.safe_load(path.read_text().split("plan: ")[1].splitlines()[0])
    settings = load_config(path)
    gpus = settings.train_codec.devices * settings.train_codec.num_nodes
    phases = settings.train_codec.phases.values()
    for crops, codes in {(phase.batch_size, phase.crop_codes) for phase in phases}:
        sizes = ["--batch-size", str(crops), "--crop-codes", str(codes), "--gpus", str(gpus)]
        steps = sum(phase.steps for phase in phases)
        of = ["--preset", settings.codec.preset, "--gpu", about["gpu"], "--steps", str(steps)]
        with redirect_stdout(StringIO()) as printed:
            assert main(["codec", *of, *sizes, "--json"]) == 0
        found = json.loads(printed.getvalue())
        assert (found["steps"], steps) == (300_000, 300_000)
        assert found["fits"].startswith("yes")
        assert found["audio_seconds_a_step"] == pytest.approx(524, abs=2)
        assert found["loader_workers_a_gpu"] <= settings.train_codec.num_workers


@pytest.mark.slow
@pytest.mark.largest
def test_the_codec_at_scale_fits_its_gpus() -> None:
    """In a process of its own, with which the memory of models of full size goes."""
    code = f"from {__name__} import check_the_codec_at_scale as check; check()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
