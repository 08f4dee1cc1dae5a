"""The objective of a phase: the networks that only training has, and the losses of a batch."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from lightning import LightningModule
from torch import Tensor, nn

from codec.audio.sources import CropPlace
from codec.distillation.config import PHONES
from codec.distillation.loss import Distillation
from codec.distillation.perceptual import PerceptualLoss
from codec.distillation.phones import PhoneDistillation
from codec.distillation.recognition import RecognitionLoss, check_whole_clips, whole_texts
from codec.model.hh_codec import HHCodec
from codec.model.whisper_encoder import WhisperEncoder

from .adversarial import PREFIXES, AdversarialLosses, adversarial_losses
from .codebook import estimate_statistics
from .config import PARTS, PhaseConfig
from .data import CodecData
from .discriminators import Discriminators, Ensemble, MelDiscriminators
from .ema import WeightAverage
from .forward import (
    ForwardPass,
    check_phase,
    forward_pass,
    perceptual_losses,
    supervised_losses,
)
from .losses import MultiScaleMel
from .validation import Validation, validate


class CodecObjective(LightningModule):
    """A codec in training, and all that its losses are computed with.

    Quantizer, transforms and losses are computed in fp32 whatever the autocast; a test holds a step
    under bf16 to the losses of fp32 within 2 % and to its gradients within a cosine of 0.98.

    Args:
        codec: Trained in place.
        phase: Parts, losses and schedule.
        seed: Of the weights of discriminators and distillation.

    Raises:
        ValueError: As `check_phase`.
    """

    def __init__(
        self,
        codec: HHCodec,
        phase: PhaseConfig,
        seed: int,
    ) -> None:
        super().__init__()
        check_phase(codec, phase)
        self.codec, self.phase, self.seed = codec, phase, seed
        for part in PARTS:
            codec.get_submodule(part).requires_grad_(part in phase.train)
        # A published recogniser inside the encoder stays as it is.
        for module in codec.modules():
            if isinstance(module, WhisperEncoder):
                module.requires_grad_(False)
        self.waveform_loss = MultiScaleMel(codec.sample_rate) if phase.uses_waveform else None
        self.discriminators: Discriminators | None = None
        self.mel_discriminators: MelDiscriminators | None = None
        self.distillation: Distillation | PhoneDistillation | None = None
        self.perceptual: PerceptualLoss | None = None
        self.recognition: RecognitionLoss | None = None
        # Weights that only training has are drawn from the seed, whatever was drawn before.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if phase.uses_discriminators:
                self.discriminators = Discriminators(phase.discriminators)
            if phase.weights.semantic > 0:
                sizes = codec.config.quantizer.dim, codec.frame_rate, codec.sample_rate
                if phase.semantic.teacher == PHONES:
                    self.distillation = PhoneDistillation(phase.semantic.alignments, *sizes)
                else:
                    self.distillation = Distillation(phase.semantic, *sizes)
            if phase.uses_mel_discriminators:
                bands = codec.config.mel.n_mels
                self.mel_discriminators = MelDiscriminators(bands, phase.discriminators)
        if phase.uses_perceptual:
            self.perceptual = PerceptualLoss(phase.perceptual, codec.config.mel)
        if phase.weights.recognition > 0:
            self.recognition = RecognitionLoss(phase.perceptual.model)
        self.average = WeightAverage(codec, phase.ema_decay) if phase.ema_decay > 0 else None

    @property
    def ensembles(self) -> dict[str, Ensemble]:
        """The discriminators by the output that they see, in the order of their optimizers."""
        found = {"waveform": self.discriminators, "mel": self.mel_discriminators}
        return {name: ensemble for name, ensemble in found.items() if ensemble is not None}

    @property
    def networks(self) -> list[nn.Module]:
        """What is worth compiling: the parts that train but the quantizer, and discriminators."""
        parts = [self.codec.get_submodule(part) for part in self.phase.train if part != "quantizer"]
        return parts + [each for ensemble in self.ensembles.values() for each in ensemble.members]

    def on_fit_start(self) -> None:
        """Move the frozen models to the device, and fill the cache of a teacher's features."""
        if self.perceptual is not None:
            self.perceptual.to(self.device)
        if self.recognition is not None:
            batches = self._data.batches
            check_whole_clips(batches.sources, round(batches.crop_samples * (1 + batches.speed)))
            self.recognition.to(self.device)
        if self.distillation is not None:
            self.distillation.prepare(self._data.batches.sources, self.device)

    def set_modes(self) -> None:
        """Train mode for the parts that train, eval mode for the frozen ones."""
        for part in PARTS:
            self.codec.get_submodule(part).train(part in self.phase.train)
        # Latents of an encoder that stands still keep the statistics that are stored.
        self.codec.quantizer.batch_statistics = self._moves_latents

    def forward_pass(
        self,
        waveform: Tensor,
        step: int,
        encoder_input: Tensor | None = None,
        pitch_target: tuple[Tensor, Tensor] | None = None,
        voice_input: Tensor | None = None,
    ) -> ForwardPass:
        """Run the codec on (B, T); the noise on unquantised latents grows with `step`.

        `encoder_input` (B, T) is the encoder's where that differs from the recordings,
        `pitch_target` the pitch of the recordings where it was tracked before, and `voice_input`
        (B, T) where a voice code is read.
        """
        share = min(1.0, step / max(1, self.phase.quantize_from))
        noise = self.phase.noise * share
        inputs = waveform, noise, encoder_input, pitch_target, voice_input
        return forward_pass(self.codec, self.phase, *inputs)

    def losses(
        self, outputs: ForwardPass, waveform: Tensor, positions: list[CropPlace] | None = None
    ) -> dict[str, Tensor]:
        """Compute the unweighted losses of a pass over (B, T), but for the adversarial ones."""
        losses = supervised_losses(self.phase, outputs, waveform, self.waveform_loss)
        if self.distillation is not None:
            assert outputs.quantized is not None
            with torch.autocast(self.device.type, enabled=False):
                losses["semantic"] = self.distillation.loss(
                    outputs.quantized.float(), waveform, positions=positions
                )
        if self.perceptual is not None:
            losses |= perceptual_losses(
                self.codec,
                self.phase,
                outputs,
                self.perceptual,
                recognition=self.recognition,
                texts=whole_texts(self._data.batches.sources, positions) if positions else None,
            )
        return losses

    def adversarial_losses(
        self, outputs: ForwardPass, waveform: Tensor, step: int
    ) -> dict[str, AdversarialLosses]:
        """Compute the losses of generator and discriminators, by the output that these see.

        Those that begin later are left out.
        """
        phase, found = self.phase, {}
        by_kind = phase.feature_matching_average == "kind"
        if self.discriminators is not None and step >= phase.adversarial_from:
            fake = outputs.generated("waveform")
            found["waveform"] = adversarial_losses(
                self.discriminators, waveform, fake, by_kind=by_kind
            )
        if self.mel_discriminators is not None and step >= phase.mel_adversarial_from:
            found["mel"] = adversarial_losses(
                self.mel_discriminators,
                outputs.target,
                outputs.generated("mel"),
                loss=phase.mel_adversarial_loss,
                prefix=PREFIXES["mel"],
            )
        return found

    def validate(self, waveform: Tensor, lengths: Tensor | None = None) -> Validation:
        """Validate on crops (B, T), everything in eval mode and with averaged weights if any.

        Where training moves the latents, their statistics are estimated first, for the weights
        that are validated, and stay in the codec for its checkpoints and its export.
        `lengths` (B,) are the samples of each that are no padding; None means T.
        """
        with nullcontext() if self.average is None else self.average.applied(self.codec):
            self.codec.eval()
            if self._moves_latents:
                estimate_statistics(self.codec, self._data.batches, self.device)
            crops, distillation = self._data.valid_batches, self.distillation
            if isinstance(distillation, PhoneDistillation):
                distillation = distillation.of_clips(crops.sources, crops.positions(0))
            has_voices = self.codec.has_voice and self.phase.uses_codec
            return validate(
                *(self.codec, self.phase, waveform, self.waveform_loss, distillation),
                voice_input=self._data.valid_voices().to(self.device) if has_voices else None,
                perceptual=self.perceptual,
                recognition=self.recognition,
                texts=self._valid_texts(),
                lengths=lengths,
            )

    @property
    def _moves_latents(self) -> bool:
        """True if the statistics of the latents are this phase's to find."""
        normalized = self.codec.config.quantizer.normalize_latents
        return normalized and {"encoder", "quantizer"} <= set(self.phase.train)

    @property
    def _data(self) -> CodecData:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CodecData)
        return data

    def _valid_texts(self) -> list[str | None] | None:
        """Transcripts of the validation crops, where a loss reads them."""
        if self.recognition is None:
            return None
        crops = self._data.valid_batches
        return whole_texts(crops.sources, crops.positions(0))

    def _crop_positions(self, step: int) -> list[CropPlace] | None:
        """The clips and offsets of a step's crops, for features or transcripts of whole clips."""
        needed = self.distillation is not None or self.recognition is not None
        return self._data.batches.positions(step) if needed else None
