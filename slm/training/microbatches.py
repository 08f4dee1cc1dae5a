"""Which part of each training step a process works on.

A step is `accumulate` batches of the stream, numbers step * accumulate onwards, however many
processes there are: the place in the data is one integer. Of R processes each takes whole batches
where R divides `accumulate`, else its rows of every batch where R divides the rows of a batch.
"""

import os
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from slm.data.packed_dataset import PackedBatch, PackedRows

from .flops import BatchCounts, batch_counts
from .prefetch import read_ahead


class Share(NamedTuple):
    """What a process trains on at once.

    Attributes:
        batch: Its rows.
        total_weight: Float32 scalar that divides their weighted loss, such that the mean over
            processes is the mean over the whole batch.
        number: Of the batch in the stream.
        counts: Of its rows, made before they go to a device.
    """

    batch: PackedBatch
    total_weight: Tensor
    number: int
    counts: BatchCounts


def process_rank() -> int:
    """This process's number among those that its launcher started; 0 for one alone."""
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def local_accumulate(accumulate: int, batch_size: int, processes: int) -> int:
    """Shares that each process works off in an optimizer step.

    Args:
        accumulate: Batches of a step.
        batch_size: Rows of a batch.
        processes: R.

    Raises:
        ValueError: Neither batches nor their rows divide into so many equal shares.
    """
    if accumulate % processes == 0:
        return accumulate // processes
    if batch_size % processes:
        raise ValueError(
            f"expected accumulate or batch_size to be a multiple of {processes} processes, got "
            f"{accumulate} batches of {batch_size} rows"
        )
    return accumulate


def share(
    rows: PackedRows, index: int, accumulate: int, *, rank: int = 0, processes: int = 1
) -> Share:
    """The `index`-th share of a process, counted from the start of the stream.

    Args:
        rows: The stream.
        index: >= 0; a step holds `local_accumulate` of them.
        accumulate: Batches of a step.
        rank: Of the process, in [0, processes).
        processes: R.
    """
    local = local_accumulate(accumulate, rows.batch_size, processes)
    step, place = divmod(index, local)
    if local * processes == accumulate:
        number = step * accumulate + rank * local + place
        batch = rows.batch(number)
        return Share(batch, _total_weight(batch), number, batch_counts(batch))
    number = step * accumulate + place
    whole = rows.batch(number)
    count = rows.batch_size // processes
    own = slice(rank * count, (rank + 1) * count)
    batch = PackedBatch(*(tensor[own] for tensor in whole))
    return Share(batch, _total_weight(whole) / processes, number, batch_counts(batch))


class Shares:
    """The shares of this process for steps `start_step` to `stop_step` - 1, one read ahead.

    Lightning asks a loader that can continue for its state; ours needs none, because the place in
    the stream is the number of the step.

    Args:
        rows: The stream.
        accumulate: Batches of a step.
        start_step: First step.
        stop_step: Step after the last one.
        pinned: Keep batches in memory that a CUDA device can copy from while it computes.
    """

    def __init__(
        self,
        rows: PackedRows,
        accumulate: int,
        *,
        start_step: int,
        stop_step: int,
        pinned: bool = False,
    ) -> None:
        self._rows, self._accumulate = rows, accumulate
        self._start_step, self._stop_step = start_step, stop_step
        self._pinned = pinned
        self._begun: list[Generator[Share, None, None]] = []

    def __iter__(self) -> Iterator[Share]:
        rank, processes = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
        # The thread must not make a context on a device that is another process's.
        device = torch.cuda.current_device() if self._pinned else None
        shares = read_ahead(self._shares(rank, processes, device))
        self._begun.append(shares)
        return shares

    def close(self) -> None:
        """End the threads that read ahead."""
        while self._begun:
            self._begun.pop().close()

    def _shares(self, rank: int, processes: int, device: int | None) -> Iterator[Share]:
        local = local_accumulate(self._accumulate, self._rows.batch_size, processes)
        for index in range(self._start_step * local, self._stop_step * local):
            made = share(self._rows, index, self._accumulate, rank=rank, processes=processes)
            yield made if device is None else _pinned(made, device)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the number of the step says it all."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to do."""
        del state_dict


def _total_weight(batch: PackedBatch) -> Tensor:
    return batch.loss_weights[:, 1:].sum()


def _pinned(made: Share, device: int) -> Share:
    with torch.cuda.device(device):
        batch = PackedBatch(*(tensor.pin_memory() for tensor in made.batch))
        return made._replace(batch=batch, total_weight=made.total_weight.pin_memory())
