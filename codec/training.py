"""Codec training as declared phases: which parts train, on what input, against which losses."""

from __future__ import annotations

import math

import torch
from lightning import LightningModule
from torch import Tensor

from .data import CodecData
from .discriminators import Discriminators
from .losses import discriminator_hinge, feature_matching, generator_hinge, mel_l1
from .mel import MultiScaleMel
from .model import HHCodec
from .phases import PARTS, PhaseConfig


class DivergedError(ValueError):
    """A loss that is no longer a number; the message names the term and the step."""


class CodecTraining(LightningModule):
    """Trains the parts of a codec that a phase names.

    Optimisation is manual because generator and discriminators alternate. Only the generator's
    optimizer is stepped through Lightning, so `global_step` counts generator steps. Each
    discriminator sees real and generated audio once a step: the generator's gradient and the
    discriminators' own come from the same pass.

    Args:
        codec: trained in place.
        phase: what to do.
        seed: of noise and dropout, which depend on seed and step alone.
    """

    def __init__(self, codec: HHCodec, phase: PhaseConfig, seed: int) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.codec = codec
        self.phase = phase.check()
        self.seed = seed
        self.waveform_loss = MultiScaleMel(codec.sample_rate) if phase.uses_waveform else None
        self.discriminators = (
            Discriminators(phase.discriminators) if phase.weights.adversarial > 0 else None
        )
        self.last_losses: dict[str, float] = {}
        for part in PARTS:
            self.part(part).requires_grad_(part in phase.train)

    def part(self, name: str) -> torch.nn.Module:
        """The codec's part of that name."""
        return getattr(self.codec, name)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the generator and, when there are discriminators, another for them."""
        players = [[p for p in self.codec.parameters() if p.requires_grad]]
        if self.discriminators is not None:
            players.append(list(self.discriminators.parameters()))
        return [
            torch.optim.AdamW(
                player,
                lr=self.phase.learning_rate,
                betas=self.phase.betas,
                weight_decay=self.phase.weight_decay,
            )
            for player in players
        ]

    def set_modes(self) -> None:
        """Train mode for the parts that train, eval mode for the frozen ones."""
        for part in PARTS:
            self.part(part).train(part in self.phase.train)

    def learning_rate(self, step: int) -> float:
        """Linear warmup, then a cosine to a hundredth of the peak at the last step."""
        phase = self.phase
        if step < phase.warmup_steps:
            return phase.learning_rate * (step + 1) / phase.warmup_steps
        progress = (step - phase.warmup_steps) / max(1, phase.steps - phase.warmup_steps)
        return phase.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))

    def training_step(self, batch: tuple[int, Tensor], batch_index: int) -> None:
        """One generator step and, from `adversarial_from` on, one discriminator step."""
        step, waveform = int(batch[0]), batch[1]
        torch.manual_seed(self.seed * 1_000_003 + step)
        self.set_modes()
        if self._quantizes and step >= self.phase.quantize_from:
            self.fill_codebook()
        losses, fake = self.generator_losses(waveform, step)
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(step)
        total = self._weighted(losses, step)
        optimizers[0].zero_grad()
        if self.discriminators is not None and step >= self.phase.adversarial_from:
            assert fake is not None
            from_critics = self._adversarial(waveform, fake, losses, optimizers[1].optimizer)
            torch.autograd.backward([total, fake], [torch.ones_like(total), from_critics])
        else:
            self.manual_backward(total)
        norm = self._clip(optimizers[0].optimizer)
        optimizers[0].step()
        self.last_losses = {name: float(value) for name, value in losses.items()}
        self.last_losses |= {"learning_rate": self.learning_rate(step), "gradient_norm": norm}

    @property
    def _quantizes(self) -> bool:
        """Whether the codebook is still to be filled in this phase."""
        return "quantizer" in self.phase.train and not bool(self.codec.quantizer.initialized)

    def generator_losses(
        self, waveform: Tensor, step: int
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Unweighted loss terms of one batch.

        Args:
            waveform: (B, T).
            step: steers the noise on unquantised latents.

        Returns:
            the terms by name, and the generated waveform (B, T) when the phase makes one.
        """
        phase, codec = self.phase, self.codec
        frames = waveform.shape[-1] // codec.config.mel.hop_length
        target = codec.vocoder.mel(waveform)[..., :frames]
        losses: dict[str, Tensor] = {}
        mel = target
        if phase.uses_codec:
            mel, vq_loss = self._decoded_mel(waveform, step)
            losses["mel"] = mel_l1(mel, target)
            if phase.weights.vq > 0:
                losses["vq"] = vq_loss
        if not phase.uses_waveform:
            return losses, None
        fake = codec.vocoder(mel if phase.vocoder_input == "decoded" else target)
        assert self.waveform_loss is not None
        losses["waveform_mel"] = self.waveform_loss(fake, waveform)
        return losses, fake

    def _decoded_mel(self, waveform: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """(B, T) to the decoder's log-mel (B, M, F) and the quantizer's loss."""
        codec, phase = self.codec, self.phase
        if "encoder" not in phase.train and "quantizer" not in phase.train:
            with torch.no_grad():
                codes = codec.quantizer.encode(codec.encoder(waveform))
                quantized = codec.quantizer.decode(codes)
            return codec.decoder(quantized), waveform.new_zeros(())
        noise = phase.noise * min(1.0, step / max(1, phase.quantize_from))
        quantization = codec.quantizer(codec.encoder(waveform), noise)
        return codec.decoder(quantization.quantized), quantization.loss

    def _weighted(self, losses: dict[str, Tensor], step: int) -> Tensor:
        """Sum of the weighted terms, refused when one is not a number."""
        total = torch.zeros((), device=self.device)
        for name, value in losses.items():
            if not torch.isfinite(value):
                raise DivergedError(
                    f"phase {self.phase.name}: loss {name} is {float(value)} at step {step}; "
                    "lower learning_rate or its weight and resume from the last checkpoint"
                )
            total = total + getattr(self.phase.weights, name) * value
        return total

    def _adversarial(
        self,
        real: Tensor,
        fake: Tensor,
        losses: dict[str, Tensor],
        optimizer: torch.optim.Optimizer,
    ) -> Tensor:
        """Step the discriminators; return their gradient (B, T) for the generated waveform."""
        assert self.discriminators is not None
        leaf = fake.detach().requires_grad_()
        real_scores, real_maps = self.discriminators(real)
        fake_scores, fake_maps = self.discriminators(leaf)
        losses["adversarial"] = generator_hinge(fake_scores)
        losses["feature_matching"] = feature_matching(real_maps, fake_maps)
        judged = (
            self.phase.weights.adversarial * losses["adversarial"]
            + self.phase.weights.feature_matching * losses["feature_matching"]
        )
        (gradient,) = torch.autograd.grad(judged, leaf, retain_graph=True)
        losses["discriminator"] = discriminator_hinge(real_scores, fake_scores)
        optimizer.zero_grad()
        losses["discriminator"].backward(inputs=list(self.discriminators.parameters()))
        self._clip(optimizer)
        # not through Lightning's wrapper, which would count this as another training step
        optimizer.step()
        return gradient

    def _clip(self, optimizer: torch.optim.Optimizer) -> float:
        """Clip one player's gradients; returns their norm before."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return float(torch.nn.utils.clip_grad_norm_(parameters, self.phase.max_grad_norm))

    @torch.no_grad()
    def fill_codebook(self, num_batches: int = 64) -> None:
        """Fill the quantizer's codebooks with latents of training crops."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CodecData)
        batches = (data.batches.batch(-1 - n & 0x7FFFFFFF) for n in range(num_batches))
        latents = [self.codec.encoder(batch.to(self.device)).float() for batch in batches]
        points = torch.cat([part.transpose(1, 2).flatten(0, 1) for part in latents])
        self.codec.quantizer.initialize(points, self.seed)

    @torch.no_grad()
    def validate(self, waveform: Tensor) -> dict[str, float]:
        """Losses and use of the codebook on crops (B, T), everything in eval mode."""
        self.codec.eval()
        quantizer = self.codec.quantizer
        metrics: dict[str, float] = {}
        with torch.random.fork_rng(devices=[]):
            losses, _ = self.generator_losses(waveform, 0)
        metrics |= {name: float(value) for name, value in losses.items()}
        if self.phase.uses_codec and bool(quantizer.initialized):
            codes = quantizer.encode(self.codec.encoder(waveform)).flatten()
            counts = torch.bincount(codes, minlength=self.codec.codebook_size).double()
            p = counts[counts > 0] / counts.sum()
            metrics["codes_used"] = float((counts > 0).sum())
            metrics["perplexity"] = float(torch.exp(-(p * p.log()).sum()))
            metrics["tokens"] = float(len(codes))
        return metrics
