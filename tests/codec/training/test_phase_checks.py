"""Checks of a phase against the codec that it trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codec import CodecConfig
from codec.distillation.config import PerceptualConfig, SemanticConfig
from codec.training.config import DiscriminatorConfig, LossWeights, PhaseConfig
from codec.training.phase_checks import check_phase
from tests.support.builders import BEFORE_VOCODER

TINY = CodecConfig.preset("tiny")


@pytest.mark.parametrize(
    ("train", "source", "weights", "idle"),
    [
        (BEFORE_VOCODER, "decoded", {}, "encoder, quantizer, decoder"),
        (("vocoder",), "target", {"mel": 1.0}, "vocoder"),
        (BEFORE_VOCODER, "target", {"waveform_mel": 1.0}, "encoder, quantizer, decoder"),
        (("encoder", "decoder"), "decoded", {"semantic": 1.0}, "decoder"),
        (("quantizer", "decoder"), "decoded", {"vq": 1.0}, "decoder"),
        (("decoder", "vocoder"), "decoded", {"mel_adversarial": 1.0}, "vocoder"),
    ],
    ids=str,
)
def test_a_part_that_no_loss_reaches_is_refused(
    train: tuple[str, ...], source: str, weights: dict[str, float], idle: str
) -> None:
    """Its weights stayed as they were to the last step, and nothing said so."""
    phase = PhaseConfig(
        train=train,
        vocoder_input=source,
        weights=LossWeights(**weights),
        semantic=SemanticConfig(teacher="mfcc"),
    )
    with pytest.raises(ValueError, match=f"codec: train: expected parts .*, got '{idle}'"):
        check_phase(TINY, phase)


@pytest.mark.parametrize(
    ("train", "source", "weights"),
    [
        (BEFORE_VOCODER, "decoded", {"mel": 1.0}),
        (("encoder", "quantizer"), "decoded", {"vq": 1.0}),
        (("encoder", "decoder"), "decoded", {"waveform_mel": 1.0}),
        (("vocoder",), "target", {"adversarial": 1.0}),
        (("decoder",), "decoded", {"mel_feature_matching": 1.0}),
    ],
    ids=str,
)
def test_parts_are_reached_through_those_behind_them(
    train: tuple[str, ...], source: str, weights: dict[str, float]
) -> None:
    check_phase(
        TINY, PhaseConfig(train=train, vocoder_input=source, weights=LossWeights(**weights))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "weights": LossWeights(mel_adversarial=1.0),
                "discriminators": DiscriminatorConfig(mel_bands=101),
            },
            r"mel_bands: expected 1\.\.100, got 101",
        ),
        (
            {"weights": LossWeights(adversarial=1.0), "crop_codes": 1},
            "crop_codes: expected 2 or more for windows of 2048 samples, got 1",
        ),
        (
            {
                "weights": LossWeights(perceptual=1.0),
                "perceptual": PerceptualConfig(model="nowhere"),
            },
            "perceptual.model: expected a folder of a Whisper .*, got 'nowhere'",
        ),
        (
            {"weights": LossWeights(semantic=1.0), "semantic": SemanticConfig(teacher="nowhere")},
            "semantic.teacher: expected mfcc, phones, a folder .*, got 'nowhere'",
        ),
        ({"weights": LossWeights(pitch=1.0)}, "expected a harmonic vocoder"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_the_codec_or_the_disk_has_not_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    train = ("vocoder",) if "crop_codes" in changes or "pitch" in message else ("encoder",)
    train = ("vocoder",) if "harmonic" in message else train
    with pytest.raises(ValueError, match=message):
        check_phase(TINY, PhaseConfig(train=train, **changes))


def test_a_perceptual_loss_is_refused_for_mels_that_are_none_of_its_map(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    phase = PhaseConfig(
        train=("decoder",),
        weights=LossWeights(perceptual=1.0),
        perceptual=PerceptualConfig(model=str(tmp_path)),
    )
    check_phase(TINY, phase)
    other = replace(TINY, mel=replace(TINY.mel, n_mels=80))
    with pytest.raises(ValueError, match=r"perceptual: expected mels of .* got .*80"):
        check_phase(other, phase)


def test_a_hub_name_of_a_teacher_is_left_to_the_teacher() -> None:
    teacher = SemanticConfig(teacher="facebook/hubert-base-ls960")
    check_phase(
        TINY, PhaseConfig(train=("encoder",), weights=LossWeights(semantic=1.0), semantic=teacher)
    )
