"""Diagnostics of a training step: values that are not finite, and the gradient of every loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.distributed import norms_over_batch, process_count, process_rank
from codec.files import whole_file
from codec.runtime.finite import first_not_finite
from codec.weights import save_tensors

from .adversarial import AdversarialLosses
from .forward import ForwardPass


class DivergedError(ValueError):
    """A loss or gradient that is not finite; the message names it and the step."""


def check_finite(
    values: Mapping[str, Tensor],
    activations: Mapping[str, Tensor],
    batch: Tensor,
    *,
    phase: str,
    step: int,
    folder: Path | None,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Refuse a step whose losses or gradient norms are not finite; the host waits once.

    Args:
        values: Scalars by name, in the order they depend on one another.
        activations: Outputs by the part that made them, in the order they were made.
        batch: (B, T) waveforms of the step, saved when the step is refused.
        phase: For the message.
        step: For the message.
        folder: Receives diverged-<step>.safetensors, of several processes one of each, which ends
            in its rank; None saves nothing.
        weights: By name, as the step found them.

    Raises:
        DivergedError: Names the first value that is not finite, its cause (the batch, else the
            weights before the step, else the part whose output was the first not to be finite),
            and the file of the batch.
    """
    finite = torch.stack([value.detach().float() for value in values.values()]).isfinite()
    if finite.all():
        return
    # Only now is it worth looking for the cause, tensor by tensor.
    name = next(key for key, good in zip(values, finite.tolist(), strict=True) if not good)
    # A batch or a weight that is not finite makes every output after it so: they come first.
    parts = [part for part, output in activations.items() if not output.isfinite().all()]
    wrong = first_not_finite((weights or {}).items())
    advice = "lower learning_rate or the loss's weight and resume from the last checkpoint"
    if not batch.isfinite().all():
        cause = "the batch itself is not finite"
        advice = "mend its recordings, or leave them out, and resume from the last checkpoint"
    elif wrong is not None:
        cause = f"the weights {wrong} were not finite before the step"
        if parts:
            cause += f", and the first output that is not is the {parts[0]}'s"
    elif parts:
        cause = f"the first output that is not finite is the {parts[0]}'s"
    else:
        cause = "all outputs are finite"
    if folder is not None:
        rank = f"-{process_rank()}" if process_count() > 1 else ""
        path = folder / f"diverged-{step}{rank}.safetensors"
        tensors = {"waveform": batch.detach().cpu().contiguous(), "step": torch.tensor(step)}
        with whole_file(path) as partial:
            save_tensors(tensors, partial)
        cause += f"; the batch is in {path}"
    raise DivergedError(
        f"phase {phase}: {name} is {float(values[name])} at step {step}; {cause}; {advice}"
    )


def check_state(tensors: Mapping[str, Any], *, phase: str, step: int) -> None:
    """Refuse weights, averages or moments that are not finite after a step.

    Raises:
        DivergedError: Names the first of them.
    """
    wrong = first_not_finite(tensors.items())
    if wrong is not None:
        raise DivergedError(
            f"phase {phase}: expected finite weights after step {step}, got others in {wrong}; "
            "nothing of it was saved: lower learning_rate and resume from the last checkpoint"
        )


def gradient_norms(
    outputs: ForwardPass,
    losses: Mapping[str, Tensor],
    weights: Mapping[str, float],
    adversarial: Mapping[str, AdversarialLosses] | None = None,
) -> dict[str, float]:
    """Measure the gradient of every weighted loss; costs a backward pass a loss, keeps the graph.

    Arguments are those of `backward_generator_and_discriminators`.

    Returns:
        "<output>.<loss>", the 2-norm over the whole batch (all processes' rows), for the outputs
        "latents" (of the encoder), "mel" (of the decoder) and "waveform" (of the vocoder); 0 where
        an output has no part in a loss.
    """
    parts = {"latents": outputs.latents, "mel": outputs.mel, "waveform": outputs.waveform}
    points = {name: p for name, p in parts.items() if p is not None and p.requires_grad}
    # Where each loss enters the graph, and the gradient there; None stands for 1.
    roots: dict[str, tuple[Tensor, Tensor | None]] = {
        name: (weights[name] * loss, None) for name, loss in losses.items() if loss.requires_grad
    }
    for output, found in (adversarial or {}).items():
        fake = outputs.generated(output)
        if fake.requires_grad:
            for name in found.loss_gen:
                roots[name] = (fake, found.generator_gradient({name: weights[name]}))
    norms = {}
    for name, (root, gradient) in roots.items():
        gradients = torch.autograd.grad(
            root, list(points.values()), gradient, retain_graph=True, allow_unused=True
        )
        for point, found in zip(points, gradients, strict=True):
            norms[f"{point}.{name}"] = 0.0 if found is None else float(found.float().norm())
    return norms_over_batch(norms, outputs.target.device)
