"""A training step that is no longer made of numbers: what went wrong, where, and on which batch."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from codec.distributed import process_count, process_rank
from codec.files import whole_file


class DivergedError(ValueError):
    """A loss or gradient that is no longer a number; the message names it and the step."""


def check_finite(
    values: dict[str, Tensor],
    activations: dict[str, Tensor],
    batch: Tensor,
    *,
    phase: str,
    step: int,
    folder: Path | None,
) -> None:
    """Refuse a step whose losses or gradient norms are not finite; the host waits once.

    Args:
        values: scalars by name, in the order they depend on one another.
        activations: outputs by the part that made them, in the order they were made.
        batch: (B, T) waveforms of the step, saved when the step is refused.
        phase: its name, for the message.
        step: its number.
        folder: receives diverged-<step>.safetensors, of several processes one of each, which ends
            in its rank; None saves nothing.

    Raises:
        DivergedError: naming the first value that is not finite, the part whose output was the
            first not to be, and where the batch lies.
    """
    finite = torch.stack([value.detach().float() for value in values.values()]).isfinite()
    if finite.all():
        return
    name = next(key for key, good in zip(values, finite.tolist(), strict=True) if not good)
    parts = [part for part, output in activations.items() if not output.isfinite().all()]
    if parts:
        where = f"the first output that is not finite is the {parts[0]}'s"
    elif not batch.isfinite().all():
        where = "the batch itself is not finite"
    else:
        where = "all outputs are finite"
    raise DivergedError(
        f"phase {phase}: {name} is {float(values[name])} at step {step}; {where}"
        f"{_save(batch, step, folder)}; lower learning_rate or the term's weight and resume from "
        "the last checkpoint"
    )


def _save(batch: Tensor, step: int, folder: Path | None) -> str:
    """Write the batch whole or not at all; says where, for the message."""
    if folder is None:
        return ""
    rank = f"-{process_rank()}" if process_count() > 1 else ""
    path = folder / f"diverged-{step}{rank}.safetensors"
    tensors = {"waveform": batch.detach().cpu().contiguous(), "step": torch.tensor(step)}
    with whole_file(path) as partial:
        save_file(tensors, partial)
    return f"; the batch is in {path}"
