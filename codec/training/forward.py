"""The codec's forward pass in training: from waveforms to all that losses compare."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.distillation.perceptual import PerceptualLoss, state_distance
from codec.distillation.recognition import RecognitionLoss
from codec.model.hh_codec import HHCodec
from codec.model.voice import Voice, VoiceCode

from . import phase_checks
from .config import PhaseConfig
from .losses import MultiScaleMel, mel_l1, pitch_loss
from .pitch_targets import track_pitch


def check_phase(codec: HHCodec, phase: PhaseConfig) -> None:
    """Refuse a phase that this codec cannot be trained in.

    Raises:
        ValueError: As `phase_checks.check_phase`, or a phase on codes of a quantizer with an empty
            codebook.
    """
    phase_checks.check_phase(codec.config, phase)
    fixed = not {"encoder", "quantizer"} & set(phase.train)
    if phase.uses_codec and fixed and not codec.quantizer.quantizes:
        raise ValueError(
            f"phase {phase.name}: expected a trained quantizer or one of encoder and "
            f"quantizer in train, got an empty codebook and {tuple(phase.train)}"
        )


@dataclass(frozen=True)
class ForwardPass:
    """Outputs of the codec's parts for a batch (B, T); None of parts that a phase does not run."""

    target: Tensor  # (B, M, F) log-mel of the recording, without gradient
    latents: Tensor | None = None  # (B, D, L) of the encoder
    quantized: Tensor | None = None  # (B, D, L) of the coded stage, in normalised latent space
    codes: Tensor | None = None  # (B, L) int64 of that stage; None while latents pass unquantised
    mel: Tensor | None = None  # (B, M, F) log-mel of the decoder
    waveform: Tensor | None = None  # (B, T) of the vocoder
    vq_loss: Tensor | None = None  # scalar of the quantizer
    # Scalar without gradient, see `Quantization`; None while latents pass unquantised.
    relative_error: Tensor | None = None
    # Octaves over 1 Hz and logit of voicing (B, F) of the vocoder's pitch network; pitch in Hz and
    # voicing (B, F) tracked in the recording.
    pitch: tuple[Tensor, Tensor] | None = None
    pitch_target: tuple[Tensor, Tensor] | None = None
    voice: Tensor | None = None  # (B, K) int64 tokens of a voice code

    def generated(self, name: str) -> Tensor:
        """The output that discriminators see, "waveform" or "mel", of a phase that makes it."""
        output = self.waveform if name == "waveform" else self.mel
        assert output is not None
        return output

    def activations(self) -> dict[str, Tensor]:
        """Outputs by the part that made them, in the order they were made."""
        outputs = {
            "encoder": self.latents,
            "quantizer": self.quantized,
            "decoder": self.mel,
            "vocoder": self.waveform,
        }
        return {part: output for part, output in outputs.items() if output is not None}


def forward_pass(
    codec: HHCodec,
    phase: PhaseConfig,
    waveform: Tensor,
    noise: float,
    encoder_input: Tensor | None = None,
    pitch_target: tuple[Tensor, Tensor] | None = None,
    voice_input: Tensor | None = None,
) -> ForwardPass:
    """Run the parts that a phase uses.

    Args:
        codec: Its parts in their modes.
        phase: Decides which parts run, and on what.
        waveform: (B, T) recordings, T a multiple of the codec's hop length.
        noise: Standard deviation of the noise on latents that are not quantised yet.
        encoder_input: (B, T) for the encoder where it is not the recordings.
        pitch_target: As of `track_pitch`, of the recordings; None tracks it where a loss needs it.
        voice_input: (B, T) for the encoder, another place of each recording, where a voice code is
            read; None is `encoder_input`.
    """
    encoder_input = waveform if encoder_input is None else encoder_input
    frames = waveform.shape[-1] // codec.config.mel.hop_length
    with torch.no_grad():
        # "center" padding gives one frame more than the decoder does
        target = codec.vocoder.mel(waveform)[..., :frames]
    latents = quantized = codes = mel = vq_loss = relative_error = voice = None
    if phase.uses_codec:
        if "encoder" in phase.train or "quantizer" in phase.train:
            latents = codec.encoder(encoder_input)
            quantization = codec.quantizer(latents, noise)
            quantized, vq_loss = quantization.quantized, quantization.loss
            relative_error = quantization.relative_error
            codes = quantization.codes if codec.quantizer.quantizes else None
        else:
            # The codes of inference: nothing before the decoder trains.
            with torch.no_grad():
                latents = codec.encoder(encoder_input)
                codes = codec.quantizer.encode(latents)
                quantized = codec.quantizer.vectors(codes)
        if codec.decoder.voice is not None:
            read_off = encoder_input if voice_input is None else voice_input
            voice = _voice(codec, codec.decoder.voice, phase, read_off)
            if "decoder" in phase.train:
                vq_loss = voice.loss if vq_loss is None else vq_loss + voice.loss
        mel = codec.decoder(quantized, voice=None if voice is None else voice.vectors)
    fake = pitch = None
    if phase.uses_waveform:
        vocoder_input = target if phase.vocoder_input == "target" else mel
        assert vocoder_input is not None
        fake = codec.vocoder(vocoder_input)
        if phase.weights.pitch > 0:
            pitch = codec.vocoder.pitch(vocoder_input)
            if pitch_target is None:
                hop = codec.config.mel.hop_length
                pitch_target = track_pitch(waveform, codec.sample_rate, hop)
    return ForwardPass(
        target,
        latents=latents,
        quantized=quantized,
        codes=codes,
        mel=mel,
        waveform=fake,
        vq_loss=vq_loss,
        relative_error=relative_error,
        pitch=pitch,
        pitch_target=pitch_target,
        voice=None if voice is None else voice.tokens,
    )


def _voice(codec: HHCodec, code: VoiceCode, phase: PhaseConfig, waveform: Tensor) -> Voice:
    """The voice of (B, T), with gradients to the parts that train."""
    with nullcontext() if "encoder" in phase.train else torch.no_grad():
        states = codec.encoder.states(waveform)
    return code(states)


def supervised_losses(
    phase: PhaseConfig,
    outputs: ForwardPass,
    waveform: Tensor,
    waveform_loss: MultiScaleMel | None,
    *,
    every: bool = False,
) -> dict[str, Tensor]:
    """Compute the unweighted losses that need neither discriminators nor a teacher.

    Args:
        phase: Its weights decide which losses are computed.
        outputs: Of this batch.
        waveform: (B, T), the recording.
        waveform_loss: None when the phase does not run the vocoder.
        every: Also those of weight 0 that the outputs allow, for validation.

    Returns:
        fp32 scalars by the names of `LossWeights`.
    """
    weights = phase.weights
    losses: dict[str, Tensor] = {}
    if outputs.mel is not None and (weights.mel > 0 or every):
        losses["mel"] = mel_l1(outputs.mel, outputs.target)
    if outputs.vq_loss is not None and (weights.vq > 0 or every):
        losses["vq"] = outputs.vq_loss
    fake = outputs.waveform
    if fake is not None and waveform_loss is not None and (weights.waveform_mel > 0 or every):
        losses["waveform_mel"] = waveform_loss(fake, waveform)
    if outputs.pitch is not None and outputs.pitch_target is not None:
        losses["pitch"] = pitch_loss(*outputs.pitch, *outputs.pitch_target)
    return losses


def perceptual_losses(
    codec: HHCodec,
    phase: PhaseConfig,
    outputs: ForwardPass,
    perceptual: PerceptualLoss,
    *,
    recognition: RecognitionLoss | None = None,
    texts: Sequence[str | None] | None = None,
    every: bool = False,
) -> dict[str, Tensor]:
    """Compute the unweighted losses in the states of a recogniser.

    Args:
        codec: Its mel front end turns the waveform into a log-mel, with gradient.
        phase: Its weights decide which are computed.
        outputs: Of this batch.
        perceptual: Compares log-mels.
        recognition: Compares the words that are read off the same states; None for no such loss.
        texts: Transcript of each row for it; None for none.
        every: Also those of weight 0 that the outputs allow, for validation.

    Returns:
        fp32 scalars by the names of `LossWeights`.
    """
    weights, target = phase.weights, outputs.target
    losses: dict[str, Tensor] = {}
    if outputs.mel is not None and (max(weights.perceptual, weights.recognition) > 0 or every):
        states, target_states = perceptual.states(outputs.mel, target)
        with torch.autocast(target.device.type, enabled=False):
            losses["perceptual"] = state_distance(states, target_states)
        if recognition is not None and texts is not None:
            losses["recognition"] = recognition(states[-1], target_states[-1], texts)
    if outputs.waveform is not None and (weights.waveform_perceptual > 0 or every):
        mel = codec.vocoder.mel(outputs.waveform)[..., : target.shape[-1]]
        losses["waveform_perceptual"] = perceptual(mel, target)
    return losses
