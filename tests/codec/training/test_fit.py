from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from codec import CodecConfig, HHCodec
from codec.audio.store import AudioStore
from codec.model.vector_quantization import SimVQStage
from codec.training.config import PARTS, FitConfig, LossWeights
from codec.training.data import CropBatches
from codec.training.fit import fit_codec_phase, load_phase_codec
from codec.training.module import CodecTraining, DivergedError
from tests.support import forked
from tests.support.builders import (
    BEFORE_VOCODER,
    DISCRIMINATORS,
    JOINT,
    discriminators_of,
    few_latents,
    metrics_of,
    new_codec,
)

FIT = FitConfig(seed=1, log_every=1, validate_every=4, checkpoint_every=3)
MELS_ALONE = replace(JOINT, train=BEFORE_VOCODER, weights=LossWeights(mel=1.0, vq=1.0))


def repeatable_metrics(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run, but for the clock."""
    return [
        {k: v for k, v in line.items() if k != "seconds_per_step"} for line in metrics_of(folder)
    ]


def test_only_the_parts_of_a_phase_change(store: AudioStore, tmp_path: Path) -> None:
    codec = new_codec()
    before = {part: new_codec().get_submodule(part).state_dict() for part in PARTS}
    phase = replace(
        JOINT, train=("vocoder",), vocoder_input="target", weights=LossWeights(waveform_mel=1.0)
    )
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    for part in PARTS:
        same = all(
            torch.equal(value, before[part][name])
            for name, value in codec.get_submodule(part).state_dict().items()
        )
        assert same == (part != "vocoder"), part


@pytest.fixture(scope="module")
def joint(
    tmp_path_factory: pytest.TempPathFactory, make_store: Callable[[Path], AudioStore]
) -> tuple[CodecTraining, Path]:
    """A training of all kinds of steps, and its folder."""
    folder = tmp_path_factory.mktemp("joint")
    clips = make_store(folder / "audio")
    with few_latents():
        return fit_codec_phase(new_codec(), JOINT, clips, clips, folder, config=FIT), folder


def test_the_step_count_is_the_generators(joint: tuple[CodecTraining, Path]) -> None:
    """Lightning counts the steps of every optimizer; max_steps must mean generator steps."""
    lines = metrics_of(joint[1])
    train = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in train] == list(range(1, JOINT.steps + 1))
    assert "discriminator" in train[-1]
    assert "discriminator" not in train[0]
    valid = [line for line in lines if line["split"] == "valid"]
    assert valid[-1]["codes_used"] > 1


def test_training_overfits_a_few_crops(store: AudioStore, tmp_path: Path) -> None:
    phase = replace(MELS_ALONE, steps=40, batch_size=4, learning_rate=5e-3)
    rarely = replace(FIT, validate_every=40, checkpoint_every=40)
    fit_codec_phase(new_codec(), phase, store, store, tmp_path / "run", config=rarely)
    lines = metrics_of(tmp_path / "run")
    mel = [line["mel"] for line in lines if line["split"] == "train"]
    assert sum(mel[-5:]) / 5 < 0.65 * mel[0]


def test_a_step_leaves_no_gradients_behind(joint: tuple[CodecTraining, Path]) -> None:
    assert all(parameter.grad is None for parameter in joint[0].parameters())


def test_filling_the_codebook_under_autocast_leaves_the_encoder_its_gradient(
    store: AudioStore, tmp_path: Path
) -> None:
    """Weights that autocast had cast without gradient would be used by the step that follows."""
    config = replace(FIT, precision="bf16-mixed")
    phase = replace(JOINT, steps=1, quantize_from=0, learning_rate=1e-2, weight_decay=0.0)
    codec, before = new_codec(), new_codec()
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=config)
    for name, value in codec.encoder.named_parameters():
        assert not torch.equal(value, before.encoder.get_parameter(name)), name


def test_a_random_start_quantises_without_touching_the_codebook(
    store: AudioStore, tmp_path: Path
) -> None:
    codec, before = new_codec(), new_codec()
    phase = replace(JOINT, steps=1, quantize_from=0, codebook_start="random")
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    assert bool(codec.quantizer.initialized)
    ours, drawn = codec.quantizer.stage(0), before.quantizer.stage(0)
    assert isinstance(ours, SimVQStage)
    assert isinstance(drawn, SimVQStage)
    assert torch.equal(ours.frozen_codebook, drawn.frozen_codebook)


def test_a_store_of_another_rate_is_refused(store: AudioStore, tmp_path: Path) -> None:
    store.sample_rate = 16_000
    with pytest.raises(ValueError, match="24000 Hz"):
        fit_codec_phase(new_codec(), JOINT, store, store, tmp_path / "run", config=FIT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # it would need loss scaling
        ({"precision": "16-mixed"}, "precision: expected one of auto, 32-true, bf16-mixed"),
        ({"strategy": "fsdp"}, "strategy: expected auto or ddp, got 'fsdp'"),
        ({"devices": 0}, "devices: expected a whole number >= 1, got 0"),
        ({"num_nodes": 0}, "num_nodes"),
    ],
)
def test_a_run_that_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(FIT, **change)


def test_a_run_that_diverges_names_the_part_and_keeps_the_batch(
    store: AudioStore, tmp_path: Path
) -> None:
    codec = new_codec()
    with torch.no_grad():
        codec.decoder.embed.weight.fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"mel is nan at step 0.*the decoder's.*diverged-0"):
        fit_codec_phase(codec, JOINT, store, store, tmp_path / "run", config=FIT)
    assert (tmp_path / "run" / "diverged-0.safetensors").is_file()


def test_a_balance_report_changes_nothing_in_the_training(
    store: AudioStore, tmp_path: Path
) -> None:
    phase = replace(JOINT, steps=2, adversarial_from=1, quantize_from=0)
    plain, watched = new_codec(), new_codec()
    fit_codec_phase(plain, phase, store, store, tmp_path / "plain", config=FIT)
    config = replace(FIT, balance_every=2)
    fit_codec_phase(watched, phase, store, store, tmp_path / "watched", config=config)
    assert_same(plain.state_dict(), watched.state_dict())
    (report,) = [x for x in metrics_of(tmp_path / "watched") if x["split"] == "balance"]
    losses = ("mel", "vq", "waveform_mel", "adversarial", "feature_matching")
    assert {f"mel.{loss}" for loss in losses} <= set(report)


# Everything that a checkpoint has to hold, cut off within a window of metrics.
RESUMED = replace(
    JOINT,
    ema_decay=0.9,
    discriminators=replace(DISCRIMINATORS, band_n_ffts=(128,), band_channels=2),
)
WINDOWS = replace(FIT, log_every=2)


def train_until_killed(clips: Path, folder: Path) -> None:
    """Train until batch 8 is asked for, and die."""
    batch = CropBatches.batch

    def fatal(self: CropBatches, number: int) -> torch.Tensor:
        if number == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return batch(self, number)

    CropBatches.batch = fatal
    store = AudioStore(clips)
    with few_latents():
        fit_codec_phase(new_codec(), RESUMED, store, store, folder, config=WINDOWS)


def assert_same(one: Any, other: Any, path: str = "") -> None:
    """Two nested structures of containers and tensors are equal bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{path}[{index}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path


def last_state(folder: Path) -> dict[str, Any]:
    """What a checkpoint holds of a training, but for Lightning's own counters."""
    state = torch.load(folder / "last.ckpt", weights_only=True)
    return {key: state[key] for key in ("state_dict", "optimizer_states", "average", "callbacks")}


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights_bit_for_bit(
    store: AudioStore, tmp_path: Path
) -> None:
    """Codec, averages, discriminators, both optimizers and the logged metrics."""
    whole = new_codec()
    fit_codec_phase(whole, RESUMED, store, store, tmp_path / "whole", config=WINDOWS)

    given = (train_until_killed, store.folder, tmp_path / "cut")
    status = forked.run(*given, output=tmp_path / "printed.txt")
    assert status == -signal.SIGKILL, forked.printed(tmp_path / "printed.txt")
    resumed = new_codec()
    fit_codec_phase(resumed, RESUMED, store, store, tmp_path / "cut", config=WINDOWS)

    assert_same(whole.state_dict(), resumed.state_dict())
    assert_same(last_state(tmp_path / "whole"), last_state(tmp_path / "cut"))
    assert any(k.startswith("discriminators.") for k in last_state(tmp_path / "cut")["state_dict"])
    assert repeatable_metrics(tmp_path / "whole") == repeatable_metrics(tmp_path / "cut")


def test_a_phase_ended_by_sigterm_has_saved_the_step_and_continues_to_the_bit(
    store: AudioStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before a checkpoint is due."""
    phase = replace(MELS_ALONE, steps=5, ema_decay=0.5)
    config = replace(FIT, checkpoint_every=100)
    fit_codec_phase(new_codec(), phase, store, store, tmp_path / "whole", config=config)
    step = CodecTraining.training_step

    def ended(self: CodecTraining, *given: Any) -> Any:
        if self.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(CodecTraining, "training_step", ended)
        with pytest.raises(SystemExit) as caught:
            fit_codec_phase(new_codec(), phase, store, store, tmp_path / "cut", config=config)
    assert caught.value.code == 143
    assert torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)["global_step"] == 3
    fit_codec_phase(new_codec(), phase, store, store, tmp_path / "cut", config=config)
    assert_same(last_state(tmp_path / "whole"), last_state(tmp_path / "cut"))
    assert repeatable_metrics(tmp_path / "whole") == repeatable_metrics(tmp_path / "cut")


def test_the_averaged_weights_are_what_is_exported(store: AudioStore, tmp_path: Path) -> None:
    phase = replace(MELS_ALONE, steps=3, ema_decay=0.5)
    values = CodecConfig.preset("tiny").to_dict()
    values["quantizer"]["shared_transform"] = True  # one weight under two names
    codec, other = (HHCodec(CodecConfig.from_dict(values)) for _ in range(2))
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    name = "decoder.embed.weight"
    averaged = state["average"][f"average.{name}"]
    assert not torch.equal(averaged, state["state_dict"][f"codec.{name}"])
    load_phase_codec(other, tmp_path / "run", PARTS)
    assert_same(codec.state_dict(), other.state_dict())
    assert torch.equal(codec.decoder.embed.weight, averaged)


def test_a_phase_from_a_released_folder_keeps_its_discriminators_or_says_so(
    store: AudioStore, tmp_path: Path
) -> None:
    once = replace(JOINT, steps=1, adversarial_from=1)
    first = fit_codec_phase(new_codec(), once, store, store, tmp_path / "first", config=FIT)
    first.codec.save_pretrained(tmp_path / "first")
    other = replace(FIT, seed=9, auxiliary_from=str(tmp_path / "first"))
    second = fit_codec_phase(new_codec(), once, store, store, tmp_path / "second", config=other)
    assert_same(discriminators_of(first).state_dict(), discriminators_of(second).state_dict())

    missing = replace(other, auxiliary_from=str(tmp_path))
    with pytest.warns(UserWarning, match="discriminators start anew"):
        fit_codec_phase(new_codec(), once, store, store, tmp_path / "third", config=missing)
    notices = [line for line in metrics_of(tmp_path / "third") if line["split"] == "notice"]
    assert "discriminators start anew" in notices[0]["notice"]


def test_a_trained_part_moves_into_another_codec(store: AudioStore, tmp_path: Path) -> None:
    codec, other = new_codec(), new_codec()
    phase = replace(MELS_ALONE, steps=2)
    fit_codec_phase(codec, phase, store, store, tmp_path / "run", config=FIT)
    load_phase_codec(other, tmp_path / "run", ("decoder",))
    assert torch.equal(other.decoder.embed.weight, codec.decoder.embed.weight)
    with pytest.raises(ValueError, match="train that phase first"):
        load_phase_codec(other, tmp_path / "nowhere", ("decoder",))
