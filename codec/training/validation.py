"""Validation on fixed crops: losses, codebook statistics, intelligibility, mels and audio."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from codec.distillation.loss import Distillation
from codec.distillation.perceptual import PerceptualLoss
from codec.distillation.phones import PhoneLoss
from codec.distillation.recognition import RecognitionLoss
from codec.model.hh_codec import HHCodec
from codec.requirements import install_command
from codec.run_logs import RunLogs, mel_picture

from .codebook import usage_statistics
from .config import PhaseConfig
from .forward import forward_pass, perceptual_losses, supervised_losses
from .losses import MultiScaleMel

# Crops that STOI is computed on.
STOI_CLIPS = 16
# Shorter crops hold too few of the 384 ms segments that STOI compares.
SHORTEST_STOI = 0.6


@dataclass(frozen=True)
class Validation:
    """Metrics of a validation, and its first crops to look at and listen to."""

    metrics: dict[str, float]
    recordings: Tensor  # (N, T)
    waveforms: Tensor  # (N, T) of the codec for them
    target: Tensor  # (N, M, F) log-mels of the recordings
    mel: Tensor  # (N, M, F) of the decoder, or the targets when the phase does not run it
    notices: list[str] = field(default_factory=list)  # metrics that are missing, and why


@torch.no_grad()
def validate(
    codec: HHCodec,
    phase: PhaseConfig,
    waveform: Tensor,
    waveform_loss: MultiScaleMel | None,
    distillation: Distillation | PhoneLoss | None = None,
    *,
    perceptual: PerceptualLoss | None = None,
    recognition: RecognitionLoss | None = None,
    texts: Sequence[str | None] | None = None,
    lengths: Tensor | None = None,
    voice_input: Tensor | None = None,
) -> Validation:
    """Compute losses on crops, and STOI of the first of them through the codec's vocoder.

    Args:
        codec: In eval mode.
        phase: Decides which parts run, and on what.
        waveform: (B, T) crops.
        waveform_loss: None when the phase has no vocoder in training.
        distillation: None when the phase has no teacher. The teacher runs on the crops themselves,
            also where training reads its features of whole clips.
        perceptual: None when the phase has no such loss.
        recognition: None when the phase has no such loss.
        texts: Transcript of each crop for it, None for those that are left out.
        lengths: (B,) samples of each crop that are clip and not padding, on which there is no
            distillation; None means T.
        voice_input: (B, T), where the voices of the crops are read; None is the crops themselves.

    Returns:
        Metrics are the losses of `LossWeights` that need no discriminators, `relative_error` of
        quantisation, `stoi` (mean, at most 1, higher is better), `usage_statistics` of the codes,
        and `voice_perplexity` of a voice code: the mean over its tokens, at most B.
    """
    # The random state of training is left as it was.
    with torch.random.fork_rng(devices=[]):
        outputs = forward_pass(codec, phase, waveform, 0.0, voice_input=voice_input)
    losses = supervised_losses(phase, outputs, waveform, waveform_loss, every=True)
    if distillation is not None and outputs.quantized is not None:
        losses["semantic"] = distillation.loss(outputs.quantized, waveform, lengths)
    if perceptual is not None:
        losses |= perceptual_losses(
            codec, phase, outputs, perceptual, recognition=recognition, texts=texts, every=True
        )
    metrics = {name: float(value) for name, value in losses.items()}
    if outputs.relative_error is not None:
        metrics["relative_error"] = float(outputs.relative_error)
    if outputs.codes is not None:
        counts = torch.bincount(outputs.codes.flatten(), minlength=codec.codebook_size)
        metrics |= usage_statistics(counts)
    if outputs.voice is not None:
        used = [usage_statistics(torch.bincount(token)) for token in outputs.voice.unbind(1)]
        metrics["voice_perplexity"] = sum(each["perplexity"] for each in used) / len(used)
    recordings, target = waveform[:STOI_CLIPS], outputs.target[:STOI_CLIPS]
    mel = target if outputs.mel is None else outputs.mel[:STOI_CLIPS]
    # A phase that does not run the vocoder is validated through it all the same.
    fake = codec.vocoder(mel) if outputs.waveform is None else outputs.waveform[:STOI_CLIPS]
    notices = []
    if stoi_is_missing():
        notices.append(f"no stoi: pystoi is not installed: {install_command('pystoi')}")
    else:
        stoi = mean_stoi(recordings, fake, codec.sample_rate)
        metrics |= {} if stoi is None else {"stoi": stoi}
    return Validation(metrics, recordings, fake, target, mel, notices)


@cache
def stoi_is_missing() -> bool:
    """True if pystoi cannot be imported."""
    try:
        import pystoi  # noqa: F401
    except ImportError:
        return True
    return False


def mean_stoi(reference: Tensor, estimate: Tensor, sample_rate: int) -> float | None:
    """Mean short-time objective intelligibility (https://doi.org/10.1109/TASL.2011.2114881).

    The mean is over the pairs of rows (N, T) that have enough speech in them; None when none has.
    """
    if reference.shape[-1] < SHORTEST_STOI * sample_rate:
        return None
    from pystoi import stoi

    pairs = zip(reference.float().cpu().numpy(), estimate.float().cpu().numpy(), strict=True)
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi's answer to too little speech
        for clean, degraded in pairs:
            try:
                scores.append(float(stoi(clean, degraded, sample_rate)))
            except RuntimeWarning:
                continue
    return sum(scores) / len(scores) if scores else None


class Dashboard:
    """Writer of a phase's metrics, and of mels and audio of its validations.

    Args:
        logs: Where they go.
        sample_rate: Of the audio, Hz.
        num_clips: Validation crops that are shown, the first ones.
    """

    def __init__(self, logs: RunLogs, sample_rate: int, num_clips: int = 3) -> None:
        self.logs = logs
        self.sample_rate = sample_rate
        self.num_clips = num_clips
        self._has_recordings = False

    def open(self, step: int) -> None:
        """Begin, or go on from a restored step."""
        self.logs.open(step)

    def scalars(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Add a point to the curve of every metric."""
        self.logs.scalars(step, {f"{split}/{name}": value for name, value in metrics.items()})

    def show(self, step: int, validation: Validation) -> None:
        """Add mels above one another, decoded below recorded, and the audio of both."""
        for clip in range(min(self.num_clips, len(validation.recordings))):
            picture = mel_picture(validation.target[clip], validation.mel[clip])
            self.logs.picture(step, f"mel/{clip}", picture)
            self._audio(step, f"decoded/{clip}", validation.waveforms[clip])
            if not self._has_recordings:
                self._audio(step, f"recorded/{clip}", validation.recordings[clip])
        self._has_recordings = True

    def close(self) -> None:
        """Write buffered events."""
        self.logs.close()

    def _audio(self, step: int, name: str, waveform: Tensor) -> None:
        self.logs.audio(step, name, waveform, self.sample_rate)
