"""The generator's pass over a batch: from waveforms to everything that losses look at."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.model.harmonic_vocoder import pitch_loss
from codec.model.hh_codec import HHCodec

from .config import PhaseConfig
from .losses import mel_l1
from .pitch_targets import track_pitch


@dataclass(frozen=True)
class Generated:
    """What a phase makes of a batch (B, T); parts that a phase does not run give None.

    Attributes:
        target: (B, M, F) log-mel of the recording, without gradient.
        latents: (B, D, L) of the encoder.
        quantized: (B, D, L) of the coded stage, in normalised latent space.
        codes: (B, L) int64 of the coded stage; None while latents pass unquantised.
        mel: (B, M, F) log-mel of the decoder.
        waveform: (B, T) of the vocoder.
        vq_loss: scalar of the quantizer.
        pitch: octaves over 1 Hz and logit of voicing (B, F) that the vocoder reads off its mel.
        tracked: pitch in Hz and voicing (B, F) of the recording.
    """

    target: Tensor
    latents: Tensor | None = None
    quantized: Tensor | None = None
    codes: Tensor | None = None
    mel: Tensor | None = None
    waveform: Tensor | None = None
    vq_loss: Tensor | None = None
    pitch: tuple[Tensor, Tensor] | None = None
    tracked: tuple[Tensor, Tensor] | None = None

    def activations(self) -> dict[str, Tensor]:
        """Outputs by the part that made them, in the order they were made."""
        made = {
            "encoder": self.latents,
            "quantizer": self.quantized,
            "decoder": self.mel,
            "vocoder": self.waveform,
        }
        return {part: value for part, value in made.items() if value is not None}


def generate(codec: HHCodec, phase: PhaseConfig, waveform: Tensor, noise: float) -> Generated:
    """Run the parts that a phase uses.

    Args:
        codec: its parts in the modes that the phase wants.
        phase: what runs.
        waveform: (B, T), T a multiple of the codec's hop length.
        noise: on latents that are not quantised yet.
    """
    frames = waveform.shape[-1] // codec.config.mel.hop_length
    with torch.no_grad():
        target = codec.vocoder.mel(waveform)[..., :frames]
    latents = quantized = codes = mel = vq_loss = None
    if phase.uses_codec:
        if "encoder" in phase.train or "quantizer" in phase.train:
            latents = codec.encoder(waveform)
            quantization = codec.quantizer(latents, noise)
            quantized, vq_loss = quantization.quantized, quantization.loss
            codes = quantization.codes if codec.quantizer.quantizes else None
        else:
            with torch.no_grad():
                latents = codec.encoder(waveform)
                codes = codec.quantizer.encode(latents)
                quantized = codec.quantizer.decode(codes)
        mel = codec.decoder(quantized)
    fake = pitch = tracked = None
    if phase.uses_waveform:
        given = target if phase.vocoder_input == "target" else mel
        assert given is not None
        fake = codec.vocoder(given)
        if phase.weights.pitch > 0:
            pitch = codec.vocoder.pitch(given)
            tracked = track_pitch(waveform, codec.sample_rate, codec.config.mel.hop_length)
    return Generated(target, latents, quantized, codes, mel, fake, vq_loss, pitch, tracked)


def supervised_terms(
    phase: PhaseConfig,
    made: Generated,
    waveform: Tensor,
    waveform_loss: nn.Module | None,
    *,
    every: bool = False,
) -> dict[str, Tensor]:
    """The unweighted terms that need neither discriminators nor a teacher.

    Args:
        phase: whose weights say which terms are wanted.
        made: of this batch.
        waveform: (B, T), the recording.
        waveform_loss: multi-scale mel distance of two waveforms.
        every: also the terms of weight 0 that can be had, for validation.

    Returns:
        fp32 scalars by the names of `LossWeights`.
    """
    weights = phase.weights
    terms: dict[str, Tensor] = {}
    if made.mel is not None and (weights.mel > 0 or every):
        terms["mel"] = mel_l1(made.mel, made.target)
    if made.vq_loss is not None and (weights.vq > 0 or every):
        terms["vq"] = made.vq_loss
    heard = made.waveform
    if heard is not None and waveform_loss is not None and (weights.waveform_mel > 0 or every):
        terms["waveform_mel"] = waveform_loss(heard, waveform)
    if made.pitch is not None and made.tracked is not None:
        terms["pitch"] = pitch_loss(*made.pitch, *made.tracked)
    return terms
