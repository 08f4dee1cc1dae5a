"""Steps of generation: what reads the tokens of some rows, by every way there is."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from slm.model.kv_cache import KVCache
from slm.model.speech_lm import SpeechLM

from .cuda_graphs import GraphSteps
from .fused import FusedSteps, padded, ragged
from .merged import FusedDecoder, kept_decoder
from .merged_weights import Outputs, fits, head_rows
from .native import NativeDecoder, NativeSteps, can_run
from .native_build import is_available


class Steps(Protocol):
    """Rows being spoken; what is read of a row depends on its own tokens alone.

    Hidden states are those after the last token read of each row, (B, D), for `logits` and nothing
    else: some steps keep the last norm's gain in the head.
    """

    def admit(self, prompts: Sequence[Tensor]) -> Tensor:
        """Take prompts in as new rows after those held; hidden states of the new rows."""
        ...

    def next(self, tokens: Tensor) -> Tensor:
        """Read one more token of every row, (B,) int64; hidden states."""
        ...

    def feed(self, waiting: Sequence[Sequence[int]]) -> Tensor:
        """Read one or more tokens of every row; hidden states."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these, which come to lie in this order."""
        ...

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """Logits (B, N) float32 of the tokens of `outputs`, after some rows' hidden states."""
        ...


def open_steps(
    lm: SpeechLM,
    rows: int,
    longest: int,
    *,
    engine: str = "auto",
    weights: str = "exact",
    use_cache: bool = True,
) -> Steps:
    """The steps of an engine, with no rows yet.

    Args:
        lm: In eval mode.
        rows: Most rows at a time.
        longest: Most tokens of a row.
        engine: "auto", "native", "graphs" or "torch"; see `GenerationSettings`.
        weights: "exact", "bf16" or "int8".
        use_cache: Keep keys and values between steps.

    Raises:
        ValueError: Rounded weights or an engine that this model or machine does not have.
    """
    device = lm.head.weight.device
    if not use_cache:
        return WholeSteps(lm)
    if not fits(lm):
        if weights != "exact" or engine not in ("auto", "torch"):
            raise ValueError(
                "expected exact weights and engine auto or torch for a decoder of other parts than "
                f"slm.model's, got {weights!r} and {engine!r}"
            )
        return CachedSteps(lm, longest)
    if engine == "auto":
        engine = best_engine(lm)
    if engine == "native":
        decoder = kept_decoder(lm, weights, NativeDecoder)
        return NativeSteps(decoder, rows, longest)
    fused = kept_decoder(lm, weights, FusedDecoder)
    if engine == "graphs":
        return GraphSteps(fused, rows, longest, device)
    return FusedSteps(fused, rows, longest, device)


def best_engine(lm: SpeechLM) -> str:
    """The fastest engine that a model has on this machine, by its name."""
    if lm.head.weight.device.type == "cuda":
        return "graphs"
    return "native" if can_run(lm) and is_available() else "torch"


class CachedSteps:
    """Runs each new token alone through the model itself, over its cache: fits any decoder.

    Args:
        lm: The model.
        longest: Most tokens of a row.
    """

    def __init__(self, lm: SpeechLM, longest: int) -> None:
        self._lm, self._longest = lm, longest
        self._device = lm.head.weight.device
        self._cache: KVCache = lm.new_cache(0, longest)
        self._lengths = torch.zeros(0, dtype=torch.int64, device=self._device)

    def admit(self, prompts: Sequence[Tensor]) -> Tensor:
        """See `Steps`."""
        tokens = padded(prompts, self._device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self._device)
        positions = torch.arange(tokens.shape[1], device=self._device).expand_as(tokens)
        cache = self._lm.new_cache(len(prompts), self._longest)
        hidden = self._lm.step(tokens, positions, cache)
        self._cache.join(cache)
        self._lengths = torch.cat([self._lengths, lengths])
        rows = torch.arange(len(hidden), device=self._device)
        return hidden[rows, lengths - 1]

    def next(self, tokens: Tensor) -> Tensor:
        """See `Steps`."""
        hidden = self._lm.step(tokens[:, None], self._lengths[:, None], self._cache)
        self._lengths = self._lengths + 1
        return hidden[:, 0]

    def feed(self, waiting: Sequence[Sequence[int]]) -> Tensor:
        """See `Steps`."""
        tokens, places = ragged(waiting, self._lengths.tolist(), self._device)
        self._lengths = places[:, -1] + 1
        return self._lm.step(tokens, places, self._cache)[:, -1]

    def keep(self, rows: Sequence[int]) -> None:
        """See `Steps`."""
        index = torch.tensor(rows, dtype=torch.int64, device=self._device)
        self._cache.keep(index)
        self._lengths = self._lengths[index]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """See `Steps`."""
        return (hidden @ head_rows(self._lm, outputs).T).float()


class WholeSteps:
    """Runs every sequence from its start at each step: slow, and the reference for the caches.

    Args:
        lm: The model.
    """

    def __init__(self, lm: SpeechLM) -> None:
        self._lm = lm
        self._sequences: list[Tensor] = []

    def admit(self, prompts: Sequence[Tensor]) -> Tensor:
        """See `Steps`."""
        added = [prompt.to(self._lm.head.weight.device) for prompt in prompts]
        self._sequences += added
        return self._last(added)

    def next(self, tokens: Tensor) -> Tensor:
        """See `Steps`."""
        return self.feed(tokens[:, None].tolist())

    def feed(self, waiting: Sequence[Sequence[int]]) -> Tensor:
        """See `Steps`."""
        pairs = zip(self._sequences, waiting, strict=True)
        self._sequences = [torch.cat([held, held.new_tensor(new)]) for held, new in pairs]
        return self._last(self._sequences)

    def keep(self, rows: Sequence[int]) -> None:
        """See `Steps`."""
        self._sequences = [self._sequences[index] for index in rows]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """See `Steps`."""
        return (hidden @ head_rows(self._lm, outputs).T).float()

    def _last(self, sequences: Sequence[Tensor]) -> Tensor:
        padded = pad_sequence(list(sequences), batch_first=True)
        last = torch.tensor([len(sequence) - 1 for sequence in sequences])
        return self._lm.hidden(padded)[torch.arange(len(last)), last.to(padded.device)]
