"""The engine of CUDA graphs: steps recorded once for a number of rows and keys, then replayed.

A step of a small model waits for the launch of its kernels, not for the kernels. A graph launches
all of them at once. Graphs are of fixed shapes: rows are rounded up to a power of two, the keys
attended to up to a multiple of 256, and what is too much is masked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .merged import MergedDecoder, MergedEngine

_KEYS = 256

# Runs something once or more and returns what runs it again, on the same memory.
Recorder = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]


def cuda_graph(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """A `Recorder` of CUDA graphs; the result lies in the same memory after every replay."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # whatever libraries set up at a first call must not be recorded
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


class GraphEngine(MergedEngine):
    """`MergedEngine` that decodes single tokens by graphs; prompts are read as there.

    Args:
        decoder: Of the model.
        rows: Most rows at a time.
        longest: Most tokens of a row.
        record: How a step becomes a graph.

    Raises:
        ValueError: A device other than CUDA, which alone has graphs.
    """

    def __init__(
        self, decoder: MergedDecoder, rows: int, longest: int, record: Recorder = cuda_graph
    ) -> None:
        device = decoder.device
        if record is cuda_graph and device.type != "cuda":
            raise ValueError(f"expected a CUDA device for engine graphs, got {device}")
        # Rounded up, so that every graph's rows and keys are there.
        rows = _power_of_two(rows)
        super().__init__(decoder, rows, _rounded(longest))
        self._tokens = torch.zeros(rows, dtype=torch.int64, device=device)
        self._positions = torch.zeros(rows, dtype=torch.int64, device=device)
        self._record = record
        self._graphs: dict[tuple[int, int], Callable[[], Tensor]] = {}

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Engine`."""
        count = len(self._lengths)
        rows, keys = _power_of_two(count), _rounded(max(self._lengths) + 1)
        # A graph reads the memory it was recorded with, so inputs are copied there.
        self._tokens[:count] = tokens
        self._positions[:count] = torch.tensor(self._lengths, device=self._device)
        if (rows, keys) not in self._graphs:
            self._graphs[rows, keys] = self._record(
                lambda: self._read(self._tokens[:rows, None], self._positions[:rows, None], keys)
            )
        # Rows past the last read leftovers into slots that the next prompt there overwrites.
        hidden = self._graphs[rows, keys]()[:count].clone()
        self._lengths = [length + 1 for length in self._lengths]
        return hidden

    def extend(self, pending: Sequence[Sequence[int]]) -> Tensor:
        """See `Engine`."""
        # Graphs are of single tokens; longer pieces are read without one.
        if any(len(new) > 1 for new in pending):
            return super().extend(pending)
        return self.decode(torch.tensor([new[0] for new in pending], device=self._device))


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _rounded(keys: int) -> int:
    return -(-keys // _KEYS) * _KEYS
