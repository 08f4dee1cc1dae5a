"""The training of a codec as a LightningModule: the training step, optimizers, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor

from codec.distributed import average_gradients, mean_of_scalars
from codec.model.hh_codec import HHCodec
from codec.runtime.finite import optimizer_tensors

from .adversarial import PREFIXES, AdversarialLosses, backward_generator_and_discriminators
from .checkpoint import DATA, PRECISION
from .codebook import CodebookUsage, initialize_codebook
from .config import PhaseConfig
from .data import Batch
from .diagnostics import DivergedError, check_finite, check_state, gradient_norms
from .forward import ForwardPass
from .objective import CodecObjective
from .optimizers import build_optimizers, clip_gradients, learning_rate_factor, set_rates

__all__ = ["CodecTraining", "DivergedError"]


class CodecTraining(CodecObjective):
    """Training of the parts of a codec that a phase names.

    Optimisation is manual because generator and discriminators alternate. Only the generator's
    optimizer is stepped through Lightning, so `global_step` counts generator steps. Each
    discriminator sees real and generated audio once a step: the generator's gradient and the
    discriminators' own come from the same pass. Noise, dropout and the data depend on seed and
    step alone, so that a checkpoint needs no random state.

    Several processes that train together each make the step for their rows of the batch; gradients
    are averaged before they are clipped, and so are the metrics (`codec.distributed`).

    Args:
        codec: Trained in place.
        phase: Parts, losses and schedule.
        seed: Of noise and dropout, and of the weights of discriminators and distillation.
        folder: Receives the batch of a step that is refused.
        balance_every: Steps between reports of every loss's gradient; 0 for none.

    Raises:
        ValueError: As `check_phase`.
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
        super().__init__(codec, phase, seed)
        self.automatic_optimization = False
        self.folder, self.balance_every = folder, balance_every
        self.codebook_use = CodebookUsage(codec.codebook_size)  # checkpoints hold this name
        self.last_metrics: dict[str, Tensor | float] = {}
        self.last_gradient_norms: dict[str, float] = {}
        self.described: dict[str, Any] | None = None  # the data, in checkpoints

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW for the generator, and another for every ensemble of discriminators."""
        head = [] if self.distillation is None else list(self.distillation.parameters())
        return build_optimizers(self.codec, self.phase, head, self.ensembles)

    def on_train_start(self) -> None:
        """Keep restored counts of codes in one process: every process restored those of all."""
        self.codebook_use.keep_first()

    def training_step(self, batch: Batch, batch_index: int) -> None:
        """Make one generator step and, from `adversarial_from` on, one discriminator step."""
        number, waveform, encoder_input, pitch, voiced, voices = Batch(*batch)
        step, tracked = int(number), None
        if pitch is not None and voiced is not None:
            tracked = pitch, voiced
        weights = self.phase.weights.by_name()
        # The random state of a resumed step is that of an uninterrupted run.
        torch.manual_seed(self.seed * 1_000_003 + step)
        self.set_modes()
        self.start_codebook(step)
        optimizers = self._scheduled_optimizers(step)

        # Forward pass of the codec, from the recordings to its waveform.
        outputs = self.forward_pass(waveform, step, encoder_input, tracked, voices)

        # Losses of the generator against recordings and teachers; then, of one pass of each
        # ensemble of discriminators over real and generated output, loss_gen and loss_disc.
        losses = self.losses(outputs, waveform, self._crop_positions(step))
        adversarial = self.adversarial_losses(outputs, waveform, step)
        self.last_gradient_norms = {}
        if self.balance_every > 0 and (step + 1) % self.balance_every == 0:
            self.last_gradient_norms = gradient_norms(outputs, losses, weights, adversarial)

        # Backward pass of all networks, each with the gradient of its own losses only.
        backward_generator_and_discriminators(outputs, losses, weights, adversarial, self.ensembles)

        # Gradients are averaged over the processes and clipped; then each optimizer steps.
        metrics = _mean_losses(outputs, losses, adversarial)
        norms, stepping = self._clip_all(optimizers, adversarial)
        metrics |= norms
        # The host waits here, once a step, to refuse one that is not finite.
        check_finite(
            metrics,
            outputs.activations(),
            waveform if encoder_input is None else encoder_input,
            phase=self.phase.name,
            step=step,
            folder=self.folder,
            weights=dict(self.named_parameters()),
        )
        optimizers[0].step()
        optimizers[0].zero_grad()
        for optimizer in stepping:
            # not through Lightning's wrapper, which would count this as another training step
            optimizer.step()
            optimizer.zero_grad()
        self._note_step(outputs, metrics, step)

    def start_codebook(self, step: int) -> None:
        """Fill the codebook at `quantize_from`; from then on latents are quantised."""
        quantizer = self.codec.quantizer
        due = "quantizer" in self.phase.train and step >= self.phase.quantize_from
        if quantizer.quantizes or not due:
            return
        if self.phase.codebook_start == "random":
            quantizer.enable()
        else:
            initialize_codebook(self.codec, self._data.batches, self.seed, self.device)
        if self.average is not None:
            self.average.restart(self.codec, "quantizer.")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the averaged weights, the precision, and the description of the data."""
        checkpoint[PRECISION] = str(self.trainer.precision)
        if self.described is not None:
            checkpoint[DATA] = self.described
        if self.average is not None:
            checkpoint["average"] = self.average.state_dict()

    def check_state(self, step: int) -> None:
        """Refuse weights, averages or moments that are not finite after a step.

        Raises:
            DivergedError: Names the first of them.
        """
        tensors: dict[str, Any] = dict(self.state_dict(keep_vars=True))
        if self.average is not None:
            tensors |= {f"average of {k}": v for k, v in self.average.state_dict().items()}
        tensors |= dict(optimizer_tensors(self.trainer.optimizers))
        check_state(tensors, phase=self.phase.name, step=step)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the averaged weights."""
        if self.average is not None:
            self.average.load_state_dict(checkpoint["average"])

    def _scheduled_optimizers(self, step: int) -> list[LightningOptimizer]:
        """The optimizers of generator and discriminators, at the learning rates of a step."""
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        set_rates(optimizers, self.phase, step, self.ensembles)
        return optimizers

    def _clip(self, optimizer: torch.optim.Optimizer, limit: float) -> Tensor:
        """Average one network's gradients over the processes and clip them; their norm before."""
        groups = [group["params"] for group in optimizer.param_groups]  # one a part
        parameters = [p for group in groups for p in group]
        average_gradients(parameters)
        return clip_gradients(groups if self.phase.clip == "part" else [parameters], limit)

    def _clip_all(
        self, optimizers: list[LightningOptimizer], adversarial: dict[str, AdversarialLosses]
    ) -> tuple[dict[str, Tensor], list[torch.optim.Optimizer]]:
        """Clip the gradients of all networks: norms before by name, discriminators that step."""
        limit, other = self.phase.max_grad_norm, self.phase.discriminator_max_grad_norm
        norms = {"gradient_norm": self._clip(optimizers[0].optimizer, limit)}
        limit, stepping = limit if other is None else other, []
        for name, optimizer in zip(self.ensembles, optimizers[1:], strict=True):
            if name in adversarial:
                norm = self._clip(optimizer.optimizer, limit)
                norms[PREFIXES[name] + "discriminator_gradient_norm"] = norm
                stepping.append(optimizer.optimizer)
        return norms, stepping

    def _note_step(self, outputs: ForwardPass, metrics: dict[str, Tensor], step: int) -> None:
        """Follow a step with averaged weights, the use of the codebook, and its metrics."""
        if self.average is not None:
            self.average.update(self.codec)
        if outputs.codes is not None:
            self.codebook_use.update(outputs.codes)
        # Tensors stay on the device: reading them here would make the host wait every step.
        self.last_metrics = {name: value.detach() for name, value in metrics.items()}
        rate = self.phase.learning_rate * learning_rate_factor(self.phase, step)
        self.last_metrics["learning_rate"] = rate


def _mean_losses(
    outputs: ForwardPass, losses: dict[str, Tensor], adversarial: dict[str, AdversarialLosses]
) -> dict[str, Tensor]:
    """All losses of a step by name, the mean over the processes."""
    named = dict(losses)
    if outputs.relative_error is not None:
        named["relative_error"] = outputs.relative_error
    for name, found in adversarial.items():
        named |= {**found.loss_gen, PREFIXES[name] + "discriminator": found.loss_disc}
    return mean_of_scalars(named)
