"""Several processes that train one codec together make the step of one process.

Each takes its rows of every batch, in the order of the ranks. What a step computes of all rows at
once (statistics, counts, draws) is put together here, so that R processes compute what one would,
but for the rounding of sums. Without a process group every function leaves its input alone, bit for
bit. All processes must call them in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor


def process_count() -> int:
    """R, the processes that train together; 1 without a process group."""
    return distributed.get_world_size() if _in_group() else 1


def process_rank() -> int:
    """Find this process's number in its group, or among those of its launcher; 0 for one alone.

    Before there is a group, exactly one process of a launch has 0. The other numbers are those
    that the group will have where the launcher tells them, and above 0 in any case.
    """
    if _in_group():
        return distributed.get_rank()
    local = int(os.environ.get("LOCAL_RANK", 0))
    told = _launcher_rank()
    if told is not None:
        # What Lightning starts within a job of one process a node takes over that one's number,
        # and gets another within the node: 0, 0, 0 with 0, 1, 2.
        return max(told, local)
    # Lightning tells the processes that it starts their node and their number in it; torchrun calls
    # a node a group. Without the number of processes a node, the sum is 0 for the first one only.
    node = int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", 0)))
    return node * int(os.environ.get("LOCAL_WORLD_SIZE", 1)) + local


def _launcher_rank() -> int | None:
    """Find this process's number in the variables of torchrun, Slurm's srun or LSF's jsrun."""
    names = ["RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"]
    # A batch script and an interactive shell have number 0 too, which all that they start takes
    # over; Lightning tells them from what srun starts by this.
    is_shell = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if is_shell or "SLURM_NTASKS" not in os.environ:
        names.remove("SLURM_PROCID")
    return next((int(os.environ[name]) for name in names if name in os.environ), None)


def wait_for_all() -> None:
    """Go on when every process is here."""
    if _in_group():
        distributed.barrier()


def leave_group() -> None:
    """End training together: what this process does from here on it does alone."""
    if _in_group():
        distributed.barrier()
        distributed.destroy_process_group()


class _Mean(torch.autograd.Function):
    """Mean over the processes; the gradient of every process's loss flows to every input."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        del ctx
        return process_sum(value) / process_count()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        del ctx
        return process_sum(gradients[0]) / process_count()


def process_mean(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes, with gradient.

    Used within a loss of which `average_gradients` then takes the mean, it gives the gradient that
    one process would find for the whole batch.
    """
    return _Mean.apply(value) if _in_group() else value  # type: ignore[return-value]


@torch.no_grad()
def process_sum(value: Tensor) -> Tensor:
    """Sum of a tensor over the processes, a new tensor without gradient."""
    if not _in_group():
        return value
    total = value.detach().clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def channel_statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Compute mean and variance (D,) of (B, D, L), over the rows of all processes."""
    # total variance: the mean of the variances and the variance of the means
    own, var = rows.mean(dim=(0, 2)), rows.var(dim=(0, 2), unbiased=False)
    mean = process_mean(own)
    return (own, var) if mean is own else (mean, process_mean(var + (own - mean).square()))


@torch.no_grad()
def broadcast_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors by those of the first process."""
    if _in_group():
        for tensor in tensors:
            distributed.broadcast(tensor, 0)


def mean_of_unequal(mean: Tensor, count: Tensor | int) -> Tensor:
    """A mean over some of this process's values, weighted by how many of all values they are.

    Args:
        mean: scalar; anything finite when there are none.
        count: of the values that it is taken over.

    Returns:
        scalar, of which the mean over the processes is the mean over all values.
    """
    if not _in_group():
        return mean
    own = torch.as_tensor(count, dtype=torch.float64, device=mean.device)
    share = own * process_count() / process_sum(own).clamp(min=1)
    return mean * share.to(mean.dtype)


def mean_of_scalars(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every scalar's mean over the processes, in one exchange and without gradient."""
    if not _in_group() or not values:
        return dict(values)
    stacked = torch.stack([value.detach().float() for value in values.values()])
    means = (process_sum(stacked) / process_count()).unbind()
    return dict(zip(values, means, strict=True))


def norms_over_batch(norms: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """Norms of the gradient of one process's loss to those of the whole batch's mean loss.

    Args:
        norms: of gradients for this process's rows.
        device: where the processes exchange tensors.
    """
    if not _in_group() or not norms:
        return dict(norms)
    squares = torch.tensor(list(norms.values()), dtype=torch.float32, device=device).square()
    whole = (process_sum(squares).sqrt() / process_count()).tolist()
    return dict(zip(norms, whole, strict=True))


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace gradients by their mean over the processes, in one exchange of a flat buffer.

    By hand, because `DistributedDataParallel` reduces once a backward pass, and a step of generator
    and discriminators has several, some of which must leave no gradient. A parameter without a
    gradient has one in no process: which ones have depends on phase and step alone.
    """
    gradients = [value.grad for value in parameters if value.grad is not None]
    if not _in_group() or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= process_count()
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def gather_rows(rows: Tensor) -> Tensor:
    """(B, ...) of this process to (R * B, ...) of all, in the order of the whole batch."""
    if not _in_group():
        return rows
    parts = [rows.new_empty(rows.shape) for _ in range(process_count())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def drawn_like(draw: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """Draw for the whole batch and take this process's rows.

    Every process draws all of it from the same random state, as one process would.

    Args:
        draw: of a tensor, whose shape and memory layout alone count, such as `torch.randn_like`.
        rows: (B, ...) of this process.
    """
    if not _in_group():
        return draw(rows)
    count = len(rows)
    strides = (rows[0].numel(), *rows.stride()[1:])
    whole = torch.empty_strided(
        (count * process_count(), *rows.shape[1:]), strides, dtype=rows.dtype, device=rows.device
    )
    first = process_rank() * count
    return draw(whole)[first : first + count]


def drawn_points(points: Tensor, count: int) -> Tensor:
    """(N, D) points of this process to (count, D) drawn from those of all, the same in each."""
    drawn = torch.randint(len(points) * process_count(), (count,), device=points.device)
    if not _in_group():
        return points[drawn]
    distributed.broadcast(drawn, 0)
    drawn -= process_rank() * len(points)
    own = (drawn >= 0) & (drawn < len(points))
    return process_sum(points[drawn.clamp(0, len(points) - 1)] * own[:, None])


def _in_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
