"""Validation on fixed crops: losses, use of the codebook, intelligibility, things to look at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from codec.distillation.perceptual import PerceptualLoss
from codec.model.hh_codec import HHCodec

from .codebook import use_figures
from .config import PhaseConfig
from .forward import Generated, generate, supervised_terms

# Shorter crops hold too few of the 384 ms segments that STOI compares.
SHORTEST_STOI = 0.6


@dataclass(frozen=True)
class Validation:
    """What a validation found.

    Attributes:
        figures: numbers by name.
        recordings: (N, T) the first crops.
        waveforms: (N, T) what the codec makes of them.
        target: (N, M, F) log-mels of the recordings.
        mel: (N, M, F) of the decoder, or the targets when the phase does not run it.
        notices: what could not be measured, and why.
    """

    figures: dict[str, float]
    recordings: Tensor
    waveforms: Tensor
    target: Tensor
    mel: Tensor
    notices: list[str] = field(default_factory=list)


@torch.no_grad()
def validate(
    codec: HHCodec,
    phase: PhaseConfig,
    waveform: Tensor,
    waveform_loss: nn.Module | None,
    distillation: Any = None,
    *,
    perceptual: PerceptualLoss | None = None,
    lengths: Tensor | None = None,
    num_heard: int = 16,
) -> Validation:
    """Losses on crops, and STOI of the first of them through the codec's vocoder as it stands.

    Args:
        codec: in eval mode.
        phase: which parts run and on what.
        waveform: (B, T) crops.
        waveform_loss: multi-scale mel distance of two waveforms.
        distillation: student's head and teacher, when the phase has them. The teacher hears the
            crops themselves, also where training reads what it heard in whole clips.
        perceptual: loss between log-mels, when the phase has it.
        lengths: (B,) samples of each crop that are clip and not padding, which is taught nothing;
            None means T.
        num_heard: crops that STOI is computed on.

    Returns:
        figures: the terms of `LossWeights` that can be had without discriminators, `stoi`
        (mean, at most 1, higher is better), and what `use_figures` gives of the codes.
    """
    with torch.random.fork_rng(devices=[]):
        made = generate(codec, phase, waveform, 0.0)
    terms = supervised_terms(phase, made, waveform, waveform_loss, every=True)
    if distillation is not None and made.quantized is not None:
        terms["semantic"] = distillation.loss(made.quantized, waveform, lengths)
    if perceptual is not None and made.mel is not None:
        terms["perceptual"] = perceptual(made.mel, made.target)
    figures = {name: float(value) for name, value in terms.items()}
    if made.codes is not None:
        counts = torch.bincount(made.codes.flatten(), minlength=codec.codebook_size)
        figures |= use_figures(counts)
    recordings = waveform[:num_heard]
    heard = _heard(codec, made, len(recordings))
    notices = []
    if stoi_is_missing():
        notices.append("no stoi: pystoi is not installed; it comes with the extra eval")
    else:
        stoi = mean_stoi(recordings, heard, codec.sample_rate)
        figures |= {} if stoi is None else {"stoi": stoi}
    target = made.target[: len(recordings)]
    mel = target if made.mel is None else made.mel[: len(recordings)]
    return Validation(figures, recordings, heard, target, mel, notices)


def _heard(codec: HHCodec, made: Generated, count: int) -> Tensor:
    """(count, T) waveforms: those of the pass, or the vocoder's on its mels."""
    if made.waveform is not None:
        return made.waveform[:count]
    return codec.vocoder((made.target if made.mel is None else made.mel)[:count])


@cache
def stoi_is_missing() -> bool:
    """Whether pystoi cannot be imported."""
    try:
        import pystoi  # noqa: F401
    except ImportError:
        return True
    return False


def mean_stoi(reference: Tensor, estimate: Tensor, sample_rate: int) -> float | None:
    """Mean short-time objective intelligibility (https://doi.org/10.1109/TASL.2011.2114881).

    Args:
        reference: (N, T).
        estimate: (N, T).
        sample_rate: of both, Hz.

    Returns:
        the mean over the pairs that have enough speech in them; None when none has.
    """
    if reference.shape[-1] < SHORTEST_STOI * sample_rate:
        return None
    from pystoi import stoi

    scores = []
    pairs = zip(reference.float().cpu().numpy(), estimate.float().cpu().numpy(), strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # what pystoi says of too little speech
        for clean, heard in pairs:
            try:
                scores.append(float(stoi(clean, heard, sample_rate)))
            except RuntimeWarning:
                continue
    return sum(scores) / len(scores) if scores else None
