"""A codec beside itself, cut short."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from codec import CodecConfig, HHCodec
from recipes.comparisons.anchors import main
from recipes.comparisons.anchors_config import AnchorsConfig
from recipes.comparisons.codec_stages import StageRecoder, spread_mel, system_name

CONFIG = Path(__file__).resolve().parents[3] / "recipes" / "configs" / "anchors.yaml"


def test_a_codec_is_cut_short_to_tell_what_its_parts_cost(
    make_corpus: Callable[..., tuple[Path, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.manual_seed(0)
    codec = HHCodec(CodecConfig.preset("tiny")).eval()
    codec_folder = tmp_path / "ours"
    codec.quantizer.initialize(torch.randn(400, codec.config.quantizer.dim), seed=0)
    codec.save_pretrained(codec_folder)
    corpus, _ = make_corpus(counts=(2, 1, 2))
    run = tmp_path / "anchors"
    call = [str(CONFIG), f"corpus={corpus}", f"run={run}", f"codec={codec_folder}"]
    call += ["classical=original", "metrics=mel_l1", "threads=1", "loudness_dbfs=null"]
    assert main([*call, "--json"]) == 0
    assert main([*call, "stages=[mel,latents]", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(figures["systems"]) == ["ours", "ours_mel", "ours_latents", "original"]
    assert figures["systems"]["ours_mel"]["measured_bitrate"] is None
    clip = sorted((run / "recordings").glob("*.flac"))[0].name
    whole, mel, latents = (
        soundfile.read(run / name / "audio" / clip, dtype="float32")[0]
        for name in ("ours", "ours_mel", "ours_latents")
    )
    assert len(whole) == len(mel) == len(latents)
    assert not (whole == latents).all()
    # The latents that the codebook would choose of are those that come through.
    recording = torch.from_numpy(soundfile.read(run / "recordings" / clip, dtype="float32")[0])
    codec.quantizer.initialized.fill_(False)
    codec.quantizer.clear_cache()
    with torch.inference_mode():
        expected = codec.eval().reconstruct(recording).waveform[0]
    assert torch.from_numpy(latents) == pytest.approx(expected.clamp(-1, 1), abs=2e-4)
    assert main([*call, "stages=[vocoder]"]) == 2
    one_of = "stages: expected one of mel, latents, mel_own_phases, codes_own_phases"
    assert one_of in capsys.readouterr().err


@pytest.mark.parametrize("padding", ["same", "center"])
def test_own_phases_bring_a_mel_back_as_no_vocoder_can(
    make_waveform: Callable[..., np.ndarray], tmp_path: Path, padding: str
) -> None:
    """The recording's mel comes back, and the codes' does as far as its magnitudes allow."""
    torch.manual_seed(0)
    preset = CodecConfig.preset("mini")
    tiny = CodecConfig.preset("tiny")
    config = replace(tiny, mel=replace(preset.mel, padding=padding))
    codec = HHCodec(config).eval()
    codec.quantizer.initialize(torch.randn(400, config.quantizer.dim), seed=0)
    codec.save_pretrained(tmp_path)
    waveform = 0.3 * make_waveform(1.01, seed=1).astype(np.float32)
    made = {
        stage: StageRecoder(str(tmp_path), stage).recode(waveform, 24_000).waveform
        for stage in ("mel", "mel_own_phases", "codes_own_phases")
    }
    assert {len(each) for each in made.values()} == {len(waveform)}
    error = {stage: np.square(each - waveform).sum() for stage, each in made.items()}
    loud = np.square(waveform).sum()
    assert error["mel_own_phases"] < 0.02 * loud
    assert error["mel"] > 0.5 * loud
    assert error["codes_own_phases"] > 0.5 * loud


def test_magnitudes_behind_a_mel_have_that_mel() -> None:
    """Also where filters share no bin, and where a bin is in none."""
    filters = torch.tensor([[1.0, 0.5, 0.0, 0.0, 0.0], [0.0, 0.5, 1.0, 0.5, 0.0]])
    mel = torch.tensor([[[3.0, 0.0], [2.0, 1.0]]])
    magnitudes = spread_mel(mel, filters)
    assert magnitudes.shape == (1, 5, 2)
    assert magnitudes.min() >= 0
    assert magnitudes[0, 4].tolist() == [0.0, 0.0]
    torch.testing.assert_close(filters @ magnitudes, mel, atol=0.02, rtol=0)


def test_codecs_of_runs_are_named_after_their_runs() -> None:
    """All of them lie in folders of one name, and none could stand beside another."""
    config = AnchorsConfig(
        "corpus", "run", codec=["runs/one/train_codec/model", "two"], stages=["mel"]
    )
    assert [system_name(name) for name in config.codec] == ["one", "two"]
    assert list(config.cut_short) == ["one_mel", "two_mel"]
    assert system_name("train_codec/model") == system_name("runs/model") == "model"
    with pytest.raises(ValueError, match="expected distinct names"):
        AnchorsConfig("corpus", "run", codec=["one", "runs/one/train_codec/model"])
