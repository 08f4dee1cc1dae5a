"""Logits a step for generation: through merged weights, through the model's cache, or from anew."""

import warnings
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .cache import KVCache
from .compilation import CompiledDecoder, can_compile, needed_compiler
from .config import GenerationSettings
from .decoding import FusedDecoder, fused_decoder
from .merging import fits
from .model import SpeechLM


class Steps(Protocol):
    """Rows being spoken; logits are those of the end and of every code, (B, 1 + codes) float32."""

    def admit(self, prompts: Sequence[Tensor]) -> Tensor:
        """Take prompts in as new rows after those held; logits after the last token of each."""
        ...

    def next(self, tokens: Tensor) -> Tensor:
        """Logits after one more token of every row, (B,) int64."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Drop every row but these, which come to lie in this order."""
        ...


def open_steps(lm: SpeechLM, settings: GenerationSettings, rows: int, longest: int) -> Steps:
    """The steps that `settings` ask for, with no rows yet.

    Args:
        lm: In eval mode.
        settings: Of them `use_cache`, `weights` and `compile`.
        rows: Most rows at a time.
        longest: Most tokens of a row.

    Raises:
        ValueError: Rounded weights for a decoder of other parts than `slm.merging` knows.
    """
    if not settings.use_cache:
        return WholeSteps(lm)
    if not fits(lm):
        if settings.weights != "exact":
            raise ValueError(f"expected exact weights for this model, got {settings.weights!r}")
        return CachedSteps(lm, longest)
    kind, device = FusedDecoder, lm.head.weight.device
    if settings.compile and can_compile(device):
        kind = CompiledDecoder
    elif settings.compile:
        warnings.warn(
            f"expected {needed_compiler(device)} to compile steps, found none: they run "
            "uncompiled, slower and to the same results",
            RuntimeWarning,
            stacklevel=4,
        )
    return FusedSteps(fused_decoder(lm, settings.weights, kind), rows, longest, device)


class FusedSteps:
    """Runs each new token alone through the merged weights.

    Args:
        decoder: Of the model.
        rows: Most rows at a time.
        longest: Most tokens of a row.
        device: Of the model.
    """

    def __init__(
        self, decoder: FusedDecoder, rows: int, longest: int, device: torch.device
    ) -> None:
        self._decoder = decoder
        self._cache = decoder.new_cache(rows, longest)
        self._lengths: list[int] = []
        self._device = device

    def admit(self, prompts: Sequence[Tensor]) -> Tensor:
        """See `Steps`."""
        # Padding on the right fills slots past a row's end; its own tokens overwrite them before
        # any query is allowed to see them.
        lengths = [len(prompt) for prompt in prompts]
        place = self._cache.at(len(self._lengths), len(prompts))
        self._lengths += lengths
        return self._decoder.prefill(_padded(prompts, self._device), lengths, place)

    def next(self, tokens: Tensor) -> Tensor:
        """See `Steps`."""
        logits = self._decoder.step(tokens, self._lengths, self._cache)
        self._lengths = [length + 1 for length in self._lengths]
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """See `Steps`."""
        self._cache.keep(rows)
        self._lengths = [self._lengths[index] for index in rows]


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
        tokens = _padded(prompts, self._device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self._device)
        positions = torch.arange(tokens.shape[1], device=self._device).expand_as(tokens)
        cache = self._lm.new_cache(len(prompts), self._longest)
        hidden = self._lm.step(tokens, positions, cache)
        self._cache.join(cache)
        self._lengths = torch.cat([self._lengths, lengths])
        rows = torch.arange(len(hidden), device=self._device)
        return _spoken_logits(self._lm, hidden[rows, lengths - 1])

    def next(self, tokens: Tensor) -> Tensor:
        """See `Steps`."""
        hidden = self._lm.step(tokens[:, None], self._lengths[:, None], self._cache)
        self._lengths = self._lengths + 1
        return _spoken_logits(self._lm, hidden[:, 0])

    def keep(self, rows: Sequence[int]) -> None:
        """See `Steps`."""
        index = torch.tensor(rows, dtype=torch.int64, device=self._device)
        self._cache.keep(index)
        self._lengths = self._lengths[index]


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
        return self._last_logits(added)

    def next(self, tokens: Tensor) -> Tensor:
        """See `Steps`."""
        pairs = zip(self._sequences, tokens, strict=True)
        self._sequences = [torch.cat([sequence, token[None]]) for sequence, token in pairs]
        return self._last_logits(self._sequences)

    def keep(self, rows: Sequence[int]) -> None:
        """See `Steps`."""
        self._sequences = [self._sequences[index] for index in rows]

    def _last_logits(self, sequences: Sequence[Tensor]) -> Tensor:
        padded = pad_sequence(list(sequences), batch_first=True)
        last = torch.tensor([len(sequence) - 1 for sequence in sequences])
        hidden = self._lm.hidden(padded)[torch.arange(len(last)), last.to(padded.device)]
        return _spoken_logits(self._lm, hidden)


def _spoken_logits(lm: SpeechLM, hidden: Tensor) -> Tensor:
    """The end first, then the codes: no other token may be said."""
    logits = lm.head(hidden).float()
    end = lm.vocabulary.eos_id
    return torch.cat([logits[:, end : end + 1], logits[:, lm.vocabulary.code_start :]], dim=1)


def _padded(prompts: Sequence[Tensor], device: torch.device) -> Tensor:
    return pad_sequence(list(prompts), batch_first=True).to(device)
