"""The engine compiled for this processor (`native_decoder.cpp`): all layers of a step in one call.

Weights are packed so that a step reads each of them once and in order, for all tokens; keys are
kept transposed in blocks of 16, so that scores are sums of whole vectors. What is computed is what
`slm.engines.merged` computes. The results of a row are the same to the bit whatever its batch
mates, in however many pieces its tokens are read, and however many threads there are.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from slm.model.speech_lm import SpeechLM

from .merged_weights import Outputs, fits, merged_head, merged_layers, rotary_table
from .native_build import library
from .native_layout import (
    BLOCK,
    LayerStruct,
    ModelStruct,
    StepStruct,
    Strips,
    packed_layer,
    strips_of,
)

_MOST_TOKENS = 64  # read at once: more would not fit a core's cache
_WIDEST_HEAD = 256  # of the code's arrays


def can_run(lm: SpeechLM) -> bool:
    """True if the code covers a model: float32, on the CPU, the blocks of `slm.model`."""
    weight, width = lm.head.weight, lm.config.dim_head
    is_float = weight.dtype == torch.float32 and weight.device.type == "cpu"
    return is_float and width % BLOCK == 0 and width <= _WIDEST_HEAD and fits(lm)


class NativeDecoder:
    """`SpeechLM` in eval mode.

    Args:
        lm: The model; its weights are copied.
        weights: "exact", "bf16" or "int8" (a scale an output row); sums are float32, embeddings
            are never rounded.

    Raises:
        ValueError: A model that `can_run` refuses, or a machine without a compiler.
    """

    def __init__(self, lm: SpeechLM, weights: str = "exact") -> None:
        if not can_run(lm):
            raise ValueError(
                "expected a float32 model on the CPU with the blocks of slm.model and heads of a "
                f"multiple of {BLOCK} up to {_WIDEST_HEAD}, got {lm.head.weight.dtype} on "
                f"{lm.head.weight.device}, heads of {lm.config.dim_head}"
            )
        library()  # fails, if it does, before any weight is copied
        self.config = lm.config
        self.layers = [packed_layer(layer, weights) for layer in merged_layers(lm)]
        self.rotations = rotary_table(lm)
        self.embedding = lm.embedding.weight.detach()
        self._lm, self._weights = weakref.ref(lm), weights
        self._heads: dict[Outputs, Strips] = {}

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """Logits of some tokens, (B, N), from hidden states (B, D) of `NativeEngine`."""
        if outputs not in self._heads:
            lm = self._lm()
            assert lm is not None, "a decoder is kept no longer than its model"
            self._heads[outputs] = strips_of(merged_head(lm, outputs), None, self._weights)
        head, threads = self._heads[outputs], torch.get_num_threads()
        hidden = hidden.contiguous()
        logits = hidden.new_empty(len(hidden), head.rows)
        sums = hidden.new_empty(threads, len(hidden), 2 * BLOCK)
        library().head_product(
            ctypes.byref(head.struct()),
            ctypes.c_void_p(hidden.data_ptr()),
            ctypes.c_int64(len(hidden)),
            ctypes.c_int64(threads),
            ctypes.c_void_p(sums.data_ptr()),
            ctypes.c_void_p(logits.data_ptr()),
        )
        return logits


class NativeEngine:
    """Rows in slots of a cache of their own; see `slm.engines.engine.Engine`.

    Args:
        decoder: Of the model.
        rows: Most rows at a time.
        longest: Most tokens of a row.
    """

    def __init__(self, decoder: NativeDecoder, rows: int, longest: int) -> None:
        config = decoder.config
        self._decoder = decoder
        positions = -(-longest // BLOCK) * BLOCK
        # Zeros, not empty: an unseen slot times a zero attention weight must not be NaN.
        shape = (2, config.num_layers, rows, config.kv_heads, positions, config.dim_head)
        self._cache = torch.zeros(shape, dtype=torch.float32)
        self._layers = (LayerStruct * config.num_layers)(
            *(
                layer.struct(keys, values)
                for layer, keys, values in zip(decoder.layers, *self._cache, strict=True)
            )
        )
        self._model = ModelStruct(
            self._layers,
            decoder.rotations.data_ptr(),
            config.num_layers,
            config.dim,
            config.num_heads,
            config.kv_heads,
            config.dim_head,
            config.ff_dim,
            positions,
            config.norm_eps,
        )
        self._scratch = torch.empty(0, dtype=torch.float32)
        self._free = list(reversed(range(rows)))
        self._slots: list[int] = []  # of each row in the cache: a row that leaves moves no other
        self._lengths: list[int] = []

    def prefill(self, prompts: Sequence[Tensor]) -> Tensor:
        """See `Engine`."""
        first = len(self._slots)
        self._slots += [self._free.pop() for _ in prompts]
        self._lengths += [0] * len(prompts)
        return self._read(range(first, len(self._slots)), [each.tolist() for each in prompts])

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Engine`."""
        return self.extend(tokens[:, None].tolist())

    def extend(self, pending: Sequence[Sequence[int]]) -> Tensor:
        """See `Engine`."""
        return self._read(range(len(self._slots)), pending)

    def select(self, rows: Sequence[int]) -> None:
        """See `Engine`."""
        slots, kept = [self._slots[row] for row in rows], []
        self._free += sorted(set(self._slots) - set(slots), reverse=True)
        for slot in slots:
            if slot in kept:
                # The same row again: a copy of its keys and values.
                copy = self._free.pop()
                self._cache[:, :, copy] = self._cache[:, :, slot]
                slot = copy
            kept.append(slot)
        self._slots, self._lengths = kept, [self._lengths[row] for row in rows]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """See `Engine`."""
        return self._decoder.logits(hidden, outputs)

    def _read(self, rows: Sequence[int], pending: Sequence[Sequence[int]]) -> Tensor:
        """Read tokens of rows that are held, (B, D) after the last of each."""
        # Tokens of all rows lie end to end, each with its position and its row's slot.
        tokens, positions, slots, last = [], [], [], []
        for row, new in zip(rows, pending, strict=True):
            tokens += new
            positions += range(self._lengths[row], self._lengths[row] + len(new))
            slots += [self._slots[row]] * len(new)
            last.append(len(tokens) - 1)
            self._lengths[row] += len(new)
        assert max(self._lengths) <= self._model.positions, "expected rows within `longest` tokens"
        hidden = F.embedding(torch.tensor(tokens), self._decoder.embedding)
        # Longer prompts are read in parts; the results are the same to the bit.
        for first in range(0, len(tokens), _MOST_TOKENS):
            part = slice(first, first + _MOST_TOKENS)
            self._run(hidden[part], positions[part], slots[part])
        # A row that reads nothing gets the state of another: nobody may look at it.
        each_one = all(len(new) == 1 for new in pending)
        return hidden if each_one else hidden[last]

    def _run(self, x: Tensor, positions: list[int], slots: list[int]) -> None:
        """Replace embeddings (B, D) of tokens by their final unit vectors, through all layers."""
        threads, model = torch.get_num_threads(), ctypes.byref(self._model)
        # The code allocates nothing: it is lent a scratch that grows as needed.
        size = library().scratch_floats(model, ctypes.c_int64(len(x)), ctypes.c_int64(threads))
        if size > len(self._scratch):
            self._scratch = torch.empty(size, dtype=torch.float32)
        indices = torch.tensor([positions, slots])  # named, so that it outlives the call
        step = StepStruct(
            indices[0].data_ptr(),
            indices[1].data_ptr(),
            x.data_ptr(),
            self._scratch.data_ptr(),
            len(x),
            threads,
        )
        library().decoder_step(model, ctypes.byref(step))
