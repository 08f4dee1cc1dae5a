"""Search for values that are not finite in the state of a training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor


def first_not_finite(values: Iterable[tuple[str, Any]]) -> str | None:
    """Find the first tensor with NaN or infinity; the host waits for the device once.

    Args:
        values: Names and values; what is no tensor of floating-point numbers is passed over. Of a
            sharded tensor this process's part counts.

    Returns:
        Its name, or None.
    """
    names, flags = [], []
    for name, value in values:
        if isinstance(value, Tensor) and value.is_floating_point():
            part: Any = value.to_local() if hasattr(value, "to_local") else value  # type: ignore
            names.append(name)
            flags.append(part.detach().isfinite().all())
    if not flags:
        return None
    # Steps of an optimizer may lie on the CPU, beside moments on a device.
    device = next((flag.device for flag in flags if flag.device.type != "cpu"), flags[0].device)
    finite = torch.stack([flag.to(device) for flag in flags]).tolist()
    return next((name for name, good in zip(names, finite, strict=True) if not good), None)


def optimizer_tensors(
    optimizers: Iterable[torch.optim.Optimizer],
) -> Iterator[tuple[str, Tensor]]:
    """Name and yield the state tensors of optimizers, such as the moments of Adam."""
    for number, optimizer in enumerate(optimizers):
        for index, state in enumerate(optimizer.state.values()):
            for name, value in state.items():
                if isinstance(value, Tensor):
                    yield f"{name} of parameter {index} in optimizer {number}", value
