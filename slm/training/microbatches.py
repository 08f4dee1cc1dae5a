"""Micro-batches of each training step that a process works on.

A step is `accumulate` batches of the stream, numbers step * accumulate onwards, however many
processes there are: the position in the data is one integer. Of R processes each takes whole
batches where R divides `accumulate`, else its rows of every batch where R divides the rows of a
batch.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from codec.distributed import process_count, process_rank
from slm.data.packed_batch import PackedBatch

from .flops import BatchCounts, batch_counts

T = TypeVar("T")
_END = object()


class Stream(Protocol):
    """An endless stream of batches; batch n is a pure function of n."""

    batch_size: int

    def batch(self, index: int) -> PackedBatch:
        """Batch `index` >= 0."""
        ...


class MicroBatch(NamedTuple):
    """Rows that a process trains on at once.

    Attributes:
        batch: Its rows.
        total_weight: Float32 scalar that divides their weighted loss, such that the mean over
            processes is the mean over the whole batch.
        number: Of the batch in the stream.
        counts: Of its rows, made before they go to a device.
        part: Of the batch that the rows are, where processes share its rows; 0 for the first.
    """

    batch: PackedBatch
    total_weight: Tensor
    number: int
    counts: BatchCounts
    part: int = 0


def micro_batches_per_step(accumulate: int, batch_size: int, processes: int) -> int:
    """Micro-batches of each of R processes in an optimizer step of `accumulate` batches.

    Raises:
        ValueError: Neither batches nor their rows divide into so many equal parts.
    """
    if accumulate % processes == 0:
        return accumulate // processes
    if batch_size % processes:
        raise ValueError(
            f"expected accumulate or batch_size to be a multiple of {processes} processes, got "
            f"{accumulate} batches of {batch_size} rows"
        )
    return accumulate


def micro_batch(
    dataset: Stream, index: int, accumulate: int, *, rank: int = 0, processes: int = 1
) -> MicroBatch:
    """The `index`-th micro-batch of a process, counted from the start of the stream.

    Args:
        dataset: The stream.
        index: >= 0; a step holds `micro_batches_per_step` of them.
        accumulate: Batches of a step.
        rank: Of the process, in [0, processes).
        processes: R.
    """
    local = micro_batches_per_step(accumulate, dataset.batch_size, processes)
    step, within = divmod(index, local)
    if local * processes == accumulate:
        # Whole batches: the first `local` of a step are rank 0's.
        number = step * accumulate + rank * local + within
        batch = dataset.batch(number)
        return MicroBatch(batch, _total_weight(batch), number, batch_counts(batch))
    number = step * accumulate + within
    whole = dataset.batch(number)
    count = dataset.batch_size // processes
    batch = PackedBatch(*(tensor[rank * count : (rank + 1) * count] for tensor in whole))
    # The processes' losses are averaged, so each one's divisor is its part of the whole batch's.
    weight = _total_weight(whole) / processes
    return MicroBatch(batch, weight, number, batch_counts(batch), rank)


class MicroBatches:
    """Micro-batches of this process for steps `start_step` to `stop_step` - 1, one read ahead.

    Lightning asks a loader that can continue for its state; ours needs none, because the position
    in the stream is the number of the step.

    Args:
        dataset: The stream.
        accumulate: Batches of a step.
        start_step: First step.
        stop_step: Step after the last one.
        pinned: Keep batches in memory that a CUDA device can copy from while it computes.
    """

    def __init__(
        self,
        dataset: Stream,
        accumulate: int,
        *,
        start_step: int,
        stop_step: int,
        pinned: bool = False,
    ) -> None:
        self._dataset, self._accumulate = dataset, accumulate
        self._start_step, self._stop_step = start_step, stop_step
        self._pinned = pinned
        # Iterators whose thread `close` ends: a run that fails leaves one behind.
        self._begun: list[Generator[MicroBatch, None, None]] = []

    def __iter__(self) -> Iterator[MicroBatch]:
        # The thread must not make a context on a device that is another process's.
        device = torch.cuda.current_device() if self._pinned else None
        processes = process_count()
        rank = process_rank() if processes > 1 else 0
        ahead = read_ahead(self._read(rank, processes, device))
        self._begun.append(ahead)
        return ahead

    def close(self) -> None:
        """End the threads that read ahead."""
        while self._begun:
            self._begun.pop().close()

    def _read(self, rank: int, processes: int, device: int | None) -> Iterator[MicroBatch]:
        dataset, accumulate = self._dataset, self._accumulate
        local = micro_batches_per_step(accumulate, dataset.batch_size, processes)
        for index in range(self._start_step * local, self._stop_step * local):
            given = micro_batch(dataset, index, accumulate, rank=rank, processes=processes)
            yield given if device is None else _pinned(given, device)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the number of the step is all there is to know."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing."""
        del state_dict


def read_ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items in the same order, each made by a thread while the one before is in use.

    The thread ends with the items, with an error, which is raised where the item was asked for, or
    when this generator is closed; then it first makes what it has begun.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        waiting = thread.submit(next, items, _END)
        while (item := waiting.result()) is not _END:
            waiting = thread.submit(next, items, _END)
            yield item  # type: ignore[misc]


def _total_weight(batch: PackedBatch) -> Tensor:
    return batch.loss_weights[:, 1:].sum()


def _pinned(given: MicroBatch, device: int) -> MicroBatch:
    with torch.cuda.device(device):
        batch = PackedBatch(*(tensor.pin_memory() for tensor in given.batch))
        return given._replace(batch=batch, total_weight=given.total_weight.pin_memory())
