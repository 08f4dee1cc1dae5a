"""Tiny codec trainings of one process among two, one after the other, and counts they exchange."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore
from codec.distillation.config import SemanticConfig
from codec.model.config import QuantizerConfig
from codec.model.vector_quantization import EMAStage
from codec.training.codebook import CodebookUsage, estimate_statistics, initialize_codebook
from codec.training.config import DiscriminatorConfig, FitConfig, LossWeights, PhaseConfig
from codec.training.data import CropBatches
from codec.training.fit import fit_codec_phase
from codec.training.module import CodecTraining
from tests.support.builders import few_latents

FIT = FitConfig(seed=1, log_every=2, validate_every=6, checkpoint_every=3, balance_every=3)
# Every kind of step: noise on unquantised latents, discriminators and codes from step 2.
JOINT = PhaseConfig(
    name="joint",
    steps=6,
    batch_size=4,
    crop_codes=8,
    speed=0.1,
    learning_rate=1e-3,
    # the same rate at every step, however many there are to be
    schedule="wsd",
    decay_share=1e-9,
    warmup_steps=2,
    ema_decay=0.9,
    quantize_from=2,
    adversarial_from=2,
    weights=LossWeights(
        mel=1.0, vq=1.0, waveform_mel=1.0, adversarial=0.1, feature_matching=0.1, semantic=1.0
    ),
    discriminators=DiscriminatorConfig(
        periods=(), n_ffts=(256,), channels=2, band_n_ffts=(128,), band_channels=2
    ),
    semantic=SemanticConfig("mfcc"),
)
# Losses over unequal numbers of frames, averages of codes, and features kept on disk.
CLASSIC = replace(
    JOINT,
    name="classic",
    steps=4,
    quantize_from=1,
    weights=LossWeights(mel=1.0, vq=1.0, waveform_mel=1.0, semantic=1.0, pitch=1.0),
    semantic=SemanticConfig("mfcc", axis="channel", distance="cosine"),
)


def new_codec(case: str) -> HHCodec:
    """Random weights of one seed; dropout is on."""
    tiny = CodecConfig.preset("tiny")
    config = replace(tiny, decoder=replace(tiny.decoder, dropout=0.1))
    if case == "classic":
        vocoder = replace(tiny.vocoder, kind="harmonic", pitch_dim=16, pitch_layers=1)
        # averages so short that entries die within a few steps
        short = {"ema_decay": 0.3, "ema_dead_share": 0.5}
        quantizer = replace(tiny.quantizer, kind="ema", transform="none", **short)
        config = replace(config, vocoder=vocoder, quantizer=quantizer)
    torch.manual_seed(5)
    return HHCodec(config)


def train(store: Path, folder: Path, case: str, steps: int, devices: int = 1) -> CodecTraining:
    """One phase up to `steps`, going on where its folder has a checkpoint."""
    torch.set_num_threads(1)
    phase = replace(JOINT if case == "joint" else CLASSIC, steps=steps)
    if case == "classic":
        cache = str(folder.with_name(folder.name + "_cache"))
        phase = replace(phase, semantic=replace(phase.semantic, cache=cache))
    clips = AudioStore(store)
    config = replace(FIT, devices=devices)
    with few_latents():
        return fit_codec_phase(new_codec(case), phase, clips, clips, folder, config=config)


class Cut(Exception):
    """Ends a training in the middle of a step."""


def cut(*given: Any) -> None:
    """Train until batch 5 is asked for."""
    whole = CropBatches.batch

    def fatal(self: CropBatches, number: int) -> Tensor:
        if number == 5:
            raise Cut
        return whole(self, number)

    CropBatches.batch = fatal
    try:
        train(*given)
    except Cut:
        return
    finally:
        CropBatches.batch = whole
    raise AssertionError("batch 5 was not asked for")


def assert_alike(module: CodecTraining) -> None:
    """Every process has the first one's weights and averages, to the bit."""
    averages = {} if module.average is None else module.average.state_dict()
    state = {**module.state_dict(), **averages}
    del state["codebook_use.counts"]
    # All bytes at once: a broadcast of each would take longer than the training.
    own = [torch.as_tensor(value).detach().contiguous().flatten() for value in state.values()]
    together = torch.cat([value.view(torch.uint8) for value in own])
    first = together.clone()
    distributed.broadcast(first, 0)
    sizes = [value.nbytes for value in own]
    parts = zip(state, together.split(sizes), first.split(sizes), strict=True)
    assert [name for name, mine, others in parts if not torch.equal(mine, others)] == []


def train_all(store: Path, jobs: Sequence[tuple[Path, str, int, bool]]) -> None:
    """Train each folder, case and number of steps, in two processes.

    A training that is cut fails once in both, within a window of metrics, and then goes on.
    """
    for folder, case, steps, fails in jobs:
        if fails:
            cut(store, folder, case, steps, 2)
        assert_alike(train(store, folder, case, steps, 2))


class Crops:
    """Noise that differs by process."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def inputs(self, number: int) -> Tensor:
        torch.manual_seed(number + self.rank)
        return 0.1 * torch.randn(2, 4096)


def count_and_average() -> None:
    """Count codes, average entries, fill a codebook and estimate statistics, all of both."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    use = CodebookUsage(4)
    use.update(torch.tensor([rank, rank, 2]))
    statistics = use.statistics()
    counted = [statistics[name] for name in ("tokens", "codes_used", "dead_codes")]
    assert counted == [6.0, 3.0, 1.0], statistics
    use.gather()
    assert use.counts.tolist() == ([2, 2, 2, 0], [0, 0, 0, 0])[rank]
    assert use.statistics() == statistics
    stage = EMAStage(QuantizerConfig(8, 2, kind="ema"))
    stage.fill(torch.arange(16.0).view(8, 2))
    torch.manual_seed(rank)
    stage(torch.randn(1, 2, 50))
    other = stage.entries.clone()
    distributed.broadcast(other, 0)
    assert torch.equal(stage.entries, other)

    codec = HHCodec(CodecConfig.preset("tiny"))
    crops: Any = Crops(rank)
    initialize_codebook(codec, crops, seed=0, device=torch.device("cpu"), num_batches=2)
    filled = codec.quantizer.mean.clone()
    codec.quantizer.mean += 1.0
    estimate_statistics(codec, crops, torch.device("cpu"), num_batches=2)
    torch.testing.assert_close(codec.quantizer.mean, filled)
    for value in codec.quantizer.state_dict().values():
        first = value.clone()
        distributed.broadcast(first, 0)
        assert torch.equal(value, first)
    distributed.destroy_process_group()
