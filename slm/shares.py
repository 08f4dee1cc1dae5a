"""Which part of each training step a process works on.

A step is `accumulate` batches of the stream, numbers step * accumulate onwards, however many
processes there are: the place in the data is one integer. Of R processes each takes whole batches
where R divides `accumulate`, else its rows of every batch where R divides the rows of a batch.
"""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .dataset import PackedBatch, PackedRows


class Share(NamedTuple):
    """What a process trains on at once.

    Attributes:
        batch: Its rows.
        total_weight: Float32 scalar that divides their weighted loss, such that the mean over
            processes is the mean over the whole batch.
        number: Of the batch in the stream.
    """

    batch: PackedBatch
    total_weight: Tensor
    number: int


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
        return Share(batch, _total_weight(batch), number)
    number = step * accumulate + place
    whole = rows.batch(number)
    count = rows.batch_size // processes
    own = slice(rank * count, (rank + 1) * count)
    batch = PackedBatch(*(tensor[own] for tensor in whole))
    return Share(batch, _total_weight(whole) / processes, number)


class Shares:
    """The shares of this process for steps `start_step` to `stop_step` - 1.

    Lightning asks a loader that can continue for its state; ours needs none, because the place in
    the stream is the number of the step.
    """

    def __init__(
        self, rows: PackedRows, accumulate: int, *, start_step: int, stop_step: int
    ) -> None:
        self._rows, self._accumulate = rows, accumulate
        self._start_step, self._stop_step = start_step, stop_step

    def __iter__(self) -> Iterator[Share]:
        rank, processes = 0, 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
        local = local_accumulate(self._accumulate, self._rows.batch_size, processes)
        for index in range(self._start_step * local, self._stop_step * local):
            yield share(self._rows, index, self._accumulate, rank=rank, processes=processes)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the number of the step says it all."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to do."""
        del state_dict


def _total_weight(batch: PackedBatch) -> Tensor:
    return batch.loss_weights[:, 1:].sum()
