"""The engine of CUDA graphs: steps recorded once for a number of rows and keys, then replayed.

A step of a small model waits for the launch of its kernels, not for the kernels. A graph launches
all of them at once. Graphs are of fixed shapes: rows are rounded up to a power of two, the keys
attended to up to a multiple of 256, and what is too much is masked. They are recorded on memory
that stays with the decoder, so that the next batch of texts replays those of the one before.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .merged import MergedDecoder, MergedEngine

_KEYS = 256
# Tokens of a row that a graph reads at once: models of aligned speech read up to three, a code and
# what follows it at the end of a unit.
_WIDEST = 3
# Memories that a decoder keeps while no engine works on them.
_MOST_KEPT = 2

# Runs something once or more and returns what runs it again, on the same memory.
Recorder = Callable[[Callable[[], Tensor]], Callable[[], Tensor]]


def cuda_graph(run: Callable[[], Tensor], pool: Any = None) -> Callable[[], Tensor]:
    """A `Recorder` of CUDA graphs; the result lies in the same memory after every replay.

    Args:
        run: Launches the kernels of a step.
        pool: Of memory, `torch.cuda.graph_pool_handle()`; graphs of one pool share what none of
            them keeps, and are replayed one at a time. None for one of its own.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # whatever libraries set up at a first call must not be recorded
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Calls of other threads, such as one that pins batches, neither break nor join the recording.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        result = run()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


class GraphMemory:
    """Memory that the graphs of a decoder read and write, and those recorded on it.

    Args:
        decoder: Of the model.
        rows: Rows, a power of two.
        longest: Tokens of a row, a multiple of 256.

    Attributes:
        cache: Keys and values, one tensor a layer.
        inputs: (rows, 1 + 3) int64: number of new tokens of each row, then the tokens, the last of
            them again where there are fewer than the graph is wide; 0 for rows that are not in use.
        positions: (rows,) int64, tokens read so far, which every graph advances.
    """

    def __init__(self, decoder: MergedDecoder, rows: int, longest: int) -> None:
        self.rows, self.longest = rows, longest
        self.cache = decoder.new_cache(rows, longest)
        self.inputs = torch.zeros(rows, 1 + _WIDEST, dtype=torch.int64, device=decoder.device)
        self.positions = torch.zeros(rows, dtype=torch.int64, device=decoder.device)
        self._decoder = decoder
        self._graphs: dict[tuple[int, int, int], Callable[[], Tensor]] = {}

    def step(self, rows: int, keys: int, width: int, record: Recorder) -> Tensor:
        """Read the inputs by a graph, recorded now unless it is there; (rows, D), overwritten next.

        Args:
            rows: Power of two.
            keys: Slots that are attended to, a multiple of 256.
            width: Tokens of each row, at most 3.
            record: How a step becomes a graph.
        """
        shape = rows, keys, width
        if shape not in self._graphs:
            before = self.positions.clone()
            self._graphs[shape] = record(partial(self._run, *shape))
            # Recording has run the step, which advances the rows.
            self.positions.copy_(before)
        return self._graphs[shape]()

    def _run(self, rows: int, keys: int, width: int) -> Tensor:
        """Hidden states (rows, D) after the last new token of each row."""
        device = self.inputs.device
        counts, tokens = self.inputs[:rows, :1], self.inputs[:rows, 1 : 1 + width]
        # The last token again has the position of the last token: (rows, width).
        offsets = torch.arange(width, device=device).minimum((counts - 1).clamp(min=0))
        # Rows that are not in use may stand anywhere, and write where nothing is read from.
        last = min(keys, self._decoder.config.max_seq_len) - 1
        places = (self.positions[:rows, None] + offsets).clamp(max=last)
        slots = torch.arange(keys, device=device)
        visible = (slots <= places[..., None])[:, None]  # (rows, 1, width, keys)
        hidden = self._decoder.hidden(tokens, places, self.cache, keys, visible)[:, -1]
        self.positions[:rows] += counts[:, 0]
        return hidden


def _taken(decoder: MergedDecoder, rows: int, longest: int) -> GraphMemory:
    """A memory of at least so many rows and tokens that no engine works on, made where none is."""
    kept: list[GraphMemory] = decoder.graph_memories
    fitting = [each for each in kept if each.rows >= rows and each.longest >= longest]
    if fitting:
        smallest = min(fitting, key=lambda each: each.rows * each.longest)
        kept.remove(smallest)
        return smallest
    # One that is smaller in both would not be taken while this one is there.
    kept[:] = [each for each in kept if each.rows > rows or each.longest > longest]
    return GraphMemory(decoder, rows, longest)


def _give_back(kept: list[GraphMemory], memory: GraphMemory) -> None:
    kept.append(memory)
    del kept[:-_MOST_KEPT]


class GraphEngine(MergedEngine):
    """`MergedEngine` that reads up to three tokens a row by graphs; prompts are read as there.

    Engines of one decoder that are open at the same time have memories of their own; their steps
    must not run at the same time.

    Args:
        decoder: Of the model; keeps the memory with its graphs for the next engine.
        rows: Most rows at a time.
        longest: Most tokens of a row.
        record: How a step becomes a graph; None for CUDA graphs of one pool of memory.

    Raises:
        ValueError: A device other than CUDA, which alone has graphs.
    """

    def __init__(
        self, decoder: MergedDecoder, rows: int, longest: int, record: Recorder | None = None
    ) -> None:
        device = decoder.device
        if record is None:
            if device.type != "cuda":
                raise ValueError(f"expected a CUDA device for engine graphs, got {device}")
            if decoder.graph_pool is None:
                decoder.graph_pool = torch.cuda.graph_pool_handle()
            record = partial(cuda_graph, pool=decoder.graph_pool)
        self._record = record
        # Rounded up, so that every graph's rows and keys are there.
        self._memory = _taken(decoder, _power_of_two(rows), _rounded(longest))
        weakref.finalize(self, _give_back, decoder.graph_memories, self._memory)
        super().__init__(decoder, rows, longest, self._memory.cache)

    def prefill(self, prompts: Sequence[Tensor]) -> Tensor:
        """See `Engine`."""
        hidden = super().prefill(prompts)
        self._place_rows()
        return hidden

    def select(self, rows: Sequence[int]) -> None:
        """See `Engine`."""
        super().select(rows)
        self._place_rows()

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Engine`."""
        self._memory.inputs[: len(self._lengths), 0] = 1
        self._memory.inputs[: len(self._lengths), 1] = tokens
        return self._step([length + 1 for length in self._lengths], 1)

    def extend(self, pending: Sequence[Sequence[int]]) -> Tensor:
        """See `Engine`."""
        width = max(len(new) for new in pending)
        if width > _WIDEST:
            hidden = super().extend(pending)
            self._place_rows()
            return hidden
        # One copy to the device holds all of a step.
        # A row that reads none leaves a slot beyond its length to be overwritten; see `ragged`.
        rows = [[len(new), *new, *[new[-1] if new else 0] * (width - len(new))] for new in pending]
        self._memory.inputs[: len(rows), : 1 + width] = torch.tensor(rows, device=self._device)
        lengths = [n + len(new) for n, new in zip(self._lengths, pending, strict=True)]
        return self._step(lengths, width, any(not new for new in pending))

    def _step(self, lengths: list[int], width: int, idle: bool = False) -> Tensor:
        """Read the inputs, after which the rows have these lengths; (B, D).

        With `idle` rows, the slot beyond the longest is within reach, too.
        """
        count = len(lengths)
        rows = _power_of_two(count)
        keys = min(_rounded(max(lengths) + idle), self._memory.longest)
        hidden = self._memory.step(rows, keys, width, self._record)[:count].clone()
        self._lengths = lengths
        return hidden

    def _place_rows(self) -> None:
        """Tell the graphs where each row stands, after prompts or a choice of rows."""
        lengths = self._lengths
        self._memory.inputs[:, 0] = 0
        self._memory.positions[: len(lengths)] = torch.tensor(lengths, device=self._device)


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()


def _rounded(keys: int) -> int:
    return -(-keys // _KEYS) * _KEYS
