from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore
from codec.training.config import PARTS, FitConfig, LossWeights, PhaseConfig
from codec.training.data import CropBatches
from codec.training.fit import fit_codec_phase, load_phase_codec

CODES, BATCH, FILLED = 12, 4, 5
PHASE = PhaseConfig(
    name="codec",
    train=("encoder", "quantizer", "decoder"),
    steps=FILLED + 20,
    batch_size=BATCH,
    crop_codes=CODES,
    learning_rate=1e-4,
    betas=(0.5, 0.9),
    weight_decay=0.0,
    warmup_steps=2,
    max_grad_norm=10.0,
    quantize_from=FILLED,
    weights=LossWeights(mel=45.0, vq=45.0),
)
SHORT = replace(PHASE, steps=FILLED + 1)
FIT = FitConfig(seed=1, log_every=1, validate_every=1000, checkpoint_every=1000)


@pytest.fixture(autouse=True)
def few_latents() -> None:
    """Statistics are compared with those of all crops, so none is left out here."""


def codec_of(kind: str) -> HHCodec:
    values = CodecConfig.preset("tiny").to_dict()
    values["encoder"] |= {"kind": kind, "channels": 4}
    if kind == "seanet":
        values["encoder"] |= {"num_lstm_layers": 1}
    values["quantizer"] |= {"dim": 16, "hidden_dim": 64, "codebook_size": 16}
    torch.manual_seed(5)
    return HHCodec(CodecConfig.from_dict(values))


def metrics(folder: Path, split: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split]


def latents_of(codec: HHCodec, store: AudioStore) -> Tensor:
    """(D, N) latents of the crops that statistics are estimated on."""
    batches = CropBatches(store, BATCH, CODES * codec.hop_length, seed=FIT.seed)
    numbers = range(0x7FFFFFFF, 0x7FFFFFFF - 64, -1)
    with torch.no_grad():
        parts = [codec.encoder(batches.batch(number)) for number in numbers]
    return torch.cat([part.transpose(0, 1).flatten(1) for part in parts], dim=1)


def assert_statistics_are_of(codec: HHCodec, store: AudioStore) -> None:
    latents = latents_of(codec, store)
    std = latents.var(dim=1, unbiased=False).add(1e-5).sqrt()
    torch.testing.assert_close(codec.quantizer.mean, latents.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(codec.quantizer.std, std, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["seanet", "mel"])
def test_the_codebook_fits_the_latents_while_the_encoder_trains(
    kind: str, store: AudioStore, tmp_path: Path
) -> None:
    codec = codec_of(kind)
    fit_codec_phase(codec, PHASE, store, store, tmp_path / "run", config=FIT)
    lines = metrics(tmp_path / "run", "train")
    filled = [line for line in lines if "codes_used" in line]
    assert len(filled) == 20
    assert max(line["vq"] for line in filled) < 2
    assert max(line["relative_error"] for line in filled) < 1
    assert min(line["codes_used"] for line in filled) > 8
    # What is validated and exported stores the statistics of the encoder as it is.
    last = metrics(tmp_path / "run", "valid")[-1]
    assert last["vq"] < 2
    assert last["relative_error"] < 1
    assert last["codes_used"] > 8
    assert_statistics_are_of(codec, store)


def test_statistics_are_those_of_the_averaged_weights(store: AudioStore, tmp_path: Path) -> None:
    codec = codec_of("seanet")
    phase = replace(PHASE, steps=FILLED + 2, ema_decay=0.9)
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    assert_statistics_are_of(codec, store)


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, make_store: Callable[[Path], AudioStore]
) -> Path:
    """A folder with clips in `audio` and a phase in `first`, a step after the codebook's fill."""
    folder = tmp_path_factory.mktemp("filled")
    clips = make_store(folder / "audio")
    fit_codec_phase(codec_of("seanet"), SHORT, clips, clips, folder / "first", config=FIT)
    return folder


@pytest.mark.parametrize("parts", [("quantizer", "decoder"), ("decoder",)])
def test_a_frozen_encoder_keeps_the_statistics(
    parts: tuple[str, ...], filled: Path, tmp_path: Path
) -> None:
    clips, codec = AudioStore(filled / "audio"), codec_of("seanet")
    load_phase_codec(codec, filled / "first", PARTS)
    before = codec.quantizer.mean.clone(), codec.quantizer.std.clone()
    phase = replace(SHORT, name="second", train=parts, quantize_from=0)
    fit_codec_phase(codec, phase, clips, clips, tmp_path / "second", config=FIT)
    assert codec.quantizer.mean.any()
    assert torch.equal(codec.quantizer.mean, before[0])
    assert torch.equal(codec.quantizer.std, before[1])


def test_a_phase_goes_on_from_statistics_that_no_longer_fit(filled: Path, tmp_path: Path) -> None:
    """Checkpoints of codecs whose statistics were frozen at the fill hold such ones."""
    shutil.copytree(filled / "first", tmp_path / "first")
    checkpoint = torch.load(tmp_path / "first/last.ckpt", weights_only=True)
    checkpoint["state_dict"]["codec.quantizer.mean"] += 3.0
    torch.save(checkpoint, tmp_path / "first/last.ckpt")
    clips, resumed = AudioStore(filled / "audio"), codec_of("seanet")
    longer = replace(PHASE, steps=FILLED + 3)
    fit_codec_phase(resumed, longer, clips, clips, tmp_path / "first", config=FIT)
    assert metrics(tmp_path / "first", "train")[-1]["vq"] < 2
    assert_statistics_are_of(resumed, clips)
