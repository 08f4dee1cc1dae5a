"""Codec training as declared phases: which parts train, on what input, against which losses."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor

from codec.audio.sources import CropPlace
from codec.distillation.perceptual import PerceptualLoss
from codec.distributed import average_gradients, mean_of_scalars
from codec.model.hh_codec import HHCodec
from codec.model.mel import MultiScaleMel
from codec.model.whisper_encoder import WhisperEncoder

from .adversarial import Verdict, backward_both, judge
from .balance import gradient_balance
from .codebook import CodebookUse
from .codebook_start import fill_codebook
from .config import PARTS, PhaseConfig
from .data import CodecData
from .diagnostics import DivergedError, check_finite
from .discriminators import Discriminators
from .ema import WeightAverage
from .forward import Generated, generate, supervised_terms
from .optimizers import generator_groups, schedule
from .validation import Validation, validate

__all__ = ["CodecTraining", "DivergedError"]


class CodecTraining(LightningModule):
    """Trains the parts of a codec that a phase names.

    Optimisation is manual because generator and discriminators alternate. Only the generator's
    optimizer is stepped through Lightning, so `global_step` counts generator steps. Each
    discriminator sees real and generated audio once a step: the generator's gradient and the
    discriminators' own come from the same pass. Noise, dropout and the data depend on seed and
    step alone, so that a checkpoint needs no random state. Quantizer, transforms and losses are
    computed in fp32 whatever the autocast; a test holds a step under bf16 to the losses of fp32
    within 2 % and to its gradients within a cosine of 0.98.

    Several processes that train together each make the step for their rows of the batch; gradients
    are averaged before they are clipped, and so are the figures (`codec.distributed`).

    Args:
        codec: trained in place.
        phase: what to do.
        seed: of noise and dropout, and of the weights of what only trains.
        folder: receives the batch of a step that is refused.
        balance_every: steps between reports of every term's gradient; 0 for none.

    Raises:
        ValueError: a phase that cannot be trained, or one on codes of a quantizer that nothing
            has filled.
    """

    def __init__(
        self,
        codec: HHCodec,
        phase: PhaseConfig,
        seed: int,
        *,
        folder: Path | None = None,
        balance_every: int = 0,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.codec = codec
        self.phase = phase.check()
        self.seed = seed
        self.folder = folder
        self.balance_every = balance_every
        for part in PARTS:
            self.part(part).requires_grad_(part in phase.train)
        for module in codec.modules():
            if isinstance(module, WhisperEncoder):
                module.requires_grad_(False)
        if phase.weights.pitch > 0 and codec.config.vocoder.kind != "harmonic":
            raise ValueError(
                f"phase {phase.name}: expected a harmonic vocoder for weights.pitch > 0, got a "
                f"{codec.config.vocoder.kind} one"
            )
        fixed = not {"encoder", "quantizer"} & set(phase.train)
        if phase.uses_codec and fixed and not codec.quantizer.quantizes:
            raise ValueError(
                f"phase {phase.name}: expected a trained quantizer or one of encoder and "
                f"quantizer in train, got an empty codebook and {tuple(phase.train)}"
            )
        self.waveform_loss = MultiScaleMel(codec.sample_rate) if phase.uses_waveform else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.discriminators = (
                Discriminators(phase.discriminators) if phase.uses_discriminators else None
            )
            self.distillation = _distillation(codec, phase) if phase.weights.semantic > 0 else None
        self.perceptual = (
            PerceptualLoss(phase.perceptual, codec.config.mel)
            if phase.weights.perceptual > 0
            else None
        )
        self.average = WeightAverage(codec, phase.ema_decay) if phase.ema_decay > 0 else None
        self.codebook_use = CodebookUse(codec.codebook_size)
        self.last_figures: dict[str, Tensor | float] = {}
        self.last_balance: dict[str, float] = {}

    def part(self, name: str) -> torch.nn.Module:
        """The codec's part of that name."""
        return getattr(self.codec, name)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the generator and, when there are discriminators, another for them."""
        phase = self.phase
        players = [generator_groups(self.codec, phase)]
        if self.distillation is not None:
            head = list(self.distillation.parameters())
            players[0].append({"params": head, "peak": phase.learning_rate})
        if self.discriminators is not None:
            peak = phase.discriminator_learning_rate
            peak = phase.learning_rate if peak is None else peak
            players.append([{"params": list(self.discriminators.parameters()), "peak": peak}])
        return [
            torch.optim.AdamW(
                player, lr=phase.learning_rate, betas=phase.betas, weight_decay=phase.weight_decay
            )
            for player in players
        ]

    def on_fit_start(self) -> None:
        """Compute the teacher's features of the clips where they are kept; place the models."""
        if self.perceptual is not None:
            self.perceptual.to(self.device)
        if self.distillation is not None:
            self.distillation.prepare(self._data.batches.sources, self.device)

    def on_train_start(self) -> None:
        """Go on from restored counts, of which every process has all."""
        self.codebook_use.keep_first()

    def set_modes(self) -> None:
        """Train mode for the parts that train, eval mode for the frozen ones."""
        for part in PARTS:
            self.part(part).train(part in self.phase.train)

    def training_step(self, batch: tuple[int, Tensor], batch_index: int) -> None:
        """One generator step and, from `adversarial_from` on, one discriminator step."""
        step, waveform = int(batch[0]), batch[1]
        torch.manual_seed(self.seed * 1_000_003 + step)
        self.set_modes()
        self.start_codebook(step)
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(self.phase, step)
        made = self.generate(waveform, step)
        terms = self.terms(made, waveform, self._places(step))
        verdict = self.judged(made, waveform, step)
        self._report_balance(made, terms, verdict, step)
        backward_both(made, terms, self.weights, verdict, self.discriminators)
        values = dict(terms)
        if verdict is not None:
            values |= {**verdict.terms, "discriminator": verdict.own}
        values = mean_of_scalars(values)
        values["gradient_norm"] = self._clip(optimizers[0].optimizer)
        if verdict is not None:
            values["discriminator_gradient_norm"] = self._clip(optimizers[1].optimizer)
        self.check_finite(values, made, waveform, step)
        optimizers[0].step()
        optimizers[0].zero_grad()
        if verdict is not None:
            # not through Lightning's wrapper, which would count this as another training step
            optimizers[1].optimizer.step()
            optimizers[1].optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.codec)
        if made.codes is not None:
            self.codebook_use.update(made.codes)
        self.last_figures = {name: value.detach() for name, value in values.items()}
        self.last_figures["learning_rate"] = self.phase.learning_rate * schedule(self.phase, step)

    def start_codebook(self, step: int) -> None:
        """Have the quantizer begin to quantise when it is time and it does not yet."""
        quantizer = self.codec.quantizer
        due = "quantizer" in self.phase.train and step >= self.phase.quantize_from
        if quantizer.quantizes or not due:
            return
        if self.phase.codebook_start == "random":
            quantizer.enable()
        else:
            fill_codebook(self.codec, self._data.batches, self.seed, self.device)
        if self.average is not None:
            self.average.restart(self.codec, "quantizer.")

    def generate(self, waveform: Tensor, step: int) -> Generated:
        """The generator's pass over (B, T); `step` steers the noise on unquantised latents."""
        share = min(1.0, step / max(1, self.phase.quantize_from))
        return generate(self.codec, self.phase, waveform, self.phase.noise * share)

    def terms(
        self, made: Generated, waveform: Tensor, places: list[CropPlace] | None = None
    ) -> dict[str, Tensor]:
        """Unweighted loss terms of a pass over (B, T), those of the discriminators left out."""
        terms = supervised_terms(self.phase, made, waveform, self.waveform_loss)
        if self.distillation is not None:
            assert made.quantized is not None
            with torch.autocast(self.device.type, enabled=False):
                terms["semantic"] = self.distillation.loss(
                    made.quantized.float(), waveform, places=places
                )
        if self.perceptual is not None:
            assert made.mel is not None
            terms["perceptual"] = self.perceptual(made.mel, made.target)
        return terms

    def _places(self, step: int) -> list[CropPlace] | None:
        """Where the crops of a step come from, for a teacher that has heard the whole clips."""
        if self.distillation is None:
            return None
        return self._data.batches.places(step)

    @property
    def _data(self) -> CodecData:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, CodecData)
        return data

    def judged(self, made: Generated, waveform: Tensor, step: int) -> Verdict | None:
        """What the discriminators make of the pass, once they are on."""
        if self.discriminators is None or step < self.phase.adversarial_from:
            return None
        assert made.waveform is not None
        return judge(self.discriminators, waveform, made.waveform)

    def check_finite(
        self, values: dict[str, Tensor], made: Generated, waveform: Tensor, step: int
    ) -> None:
        """Refuse the step, its batch saved, when a value is not a number."""
        check_finite(
            values,
            made.activations(),
            waveform,
            phase=self.phase.name,
            step=step,
            folder=self.folder,
        )

    @property
    def weights(self) -> dict[str, float]:
        """Weights by term."""
        return dict(vars(self.phase.weights))

    def _report_balance(
        self, made: Generated, terms: dict[str, Tensor], verdict: Verdict | None, step: int
    ) -> None:
        """Measure every term's gradient when it is time; `last_balance` holds it for a step."""
        due = self.balance_every > 0 and (step + 1) % self.balance_every == 0
        self.last_balance = gradient_balance(made, terms, self.weights, verdict) if due else {}

    def _clip(self, optimizer: torch.optim.Optimizer) -> Tensor:
        """Average one player's gradients over the processes and clip them; their norm before."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        average_gradients(parameters)
        return torch.nn.utils.clip_grad_norm_(parameters, self.phase.max_grad_norm)

    def validate(self, waveform: Tensor, lengths: Tensor | None = None) -> Validation:
        """Validate on crops (B, T), everything in eval mode and with averaged weights if any.

        `lengths` (B,) are the samples of each that are no padding; None means T.
        """
        with nullcontext() if self.average is None else self.average.applied(self.codec):
            self.codec.eval()
            parts = self.codec, self.phase, waveform, self.waveform_loss, self.distillation
            return validate(*parts, perceptual=self.perceptual, lengths=lengths)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the averaged weights."""
        if self.average is not None:
            checkpoint["average"] = self.average.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the averaged weights up again."""
        if self.average is not None:
            self.average.load_state_dict(checkpoint["average"])


def _distillation(codec: HHCodec, phase: PhaseConfig) -> Any:
    """The student's head and its teacher."""
    from codec.distillation.loss import Distillation  # with teachers that only such a phase needs

    return Distillation(
        phase.semantic, codec.config.quantizer.dim, codec.frame_rate, codec.sample_rate
    )
