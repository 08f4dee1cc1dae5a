"""Reference engines: the model itself, with its own cache or without one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from slm.model.kv_cache import KVCache
from slm.model.speech_lm import SpeechLM

from .merged import ragged
from .merged_weights import Outputs, head_rows


class CachedEngine:
    """Each new token alone through the model, over its cache: runs any decoder; see `Engine`.

    Args:
        lm: The model.
        longest: Most tokens of a row.
    """

    def __init__(self, lm: SpeechLM, longest: int) -> None:
        self._lm, self._longest = lm, longest
        self._device = lm.head.weight.device
        self._cache: KVCache = lm.new_cache(0, longest)
        self._lengths = torch.zeros(0, dtype=torch.int64, device=self._device)

    def prefill(self, prompts: Sequence[Tensor]) -> Tensor:
        """See `Engine`."""
        # Padding on the right changes no row: causal attention never reads it.
        tokens = pad_sequence(list(prompts), batch_first=True).to(self._device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self._device)
        positions = torch.arange(tokens.shape[1], device=self._device).expand_as(tokens)
        cache = self._lm.new_cache(len(prompts), self._longest)
        hidden = self._lm.step(tokens, positions, cache)
        # Rows may be admitted while others are in the middle of theirs.
        self._cache.join(cache)
        self._lengths = torch.cat([self._lengths, lengths])
        # (B, S, D) at the last token of each row: (B, D)
        return hidden[torch.arange(len(hidden), device=self._device), lengths - 1]

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Engine`."""
        hidden = self._lm.step(tokens[:, None], self._lengths[:, None], self._cache)
        self._lengths = self._lengths + 1
        return hidden[:, 0]

    def extend(self, pending: Sequence[Sequence[int]]) -> Tensor:
        """See `Engine`."""
        tokens, positions = ragged(pending, self._lengths.tolist(), self._longest, self._device)
        self._lengths = self._lengths + torch.tensor(list(map(len, pending)), device=self._device)
        return self._lm.step(tokens, positions, self._cache)[:, -1]

    def select(self, rows: Sequence[int]) -> None:
        """See `Engine`."""
        index = torch.tensor(rows, dtype=torch.int64, device=self._device)
        self._cache.keep(index)
        self._lengths = self._lengths[index]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """See `Engine`."""
        return (hidden @ head_rows(self._lm, outputs).T).float()


class UncachedEngine:
    """Every sequence from its start at each step: slow, the reference of the caches; see `Engine`.

    Args:
        lm: The model.
    """

    def __init__(self, lm: SpeechLM) -> None:
        self._lm = lm
        self._sequences: list[Tensor] = []

    def prefill(self, prompts: Sequence[Tensor]) -> Tensor:
        """See `Engine`."""
        added = [prompt.to(self._lm.head.weight.device) for prompt in prompts]
        self._sequences += added
        return self._last(added)

    def decode(self, tokens: Tensor) -> Tensor:
        """See `Engine`."""
        return self.extend(tokens[:, None].tolist())

    def extend(self, pending: Sequence[Sequence[int]]) -> Tensor:
        """See `Engine`."""
        pairs = zip(self._sequences, pending, strict=True)
        self._sequences = [torch.cat([held, held.new_tensor(new)]) for held, new in pairs]
        return self._last(self._sequences)

    def select(self, rows: Sequence[int]) -> None:
        """See `Engine`."""
        self._sequences = [self._sequences[index] for index in rows]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """See `Engine`."""
        return (hidden @ head_rows(self._lm, outputs).T).float()

    def _last(self, sequences: Sequence[Tensor]) -> Tensor:
        """Hidden states (B, D) after the last token of each sequence."""
        padded = pad_sequence(list(sequences), batch_first=True)
        last = torch.tensor([len(sequence) - 1 for sequence in sequences])
        return self._lm.hidden(padded)[torch.arange(len(last)), last.to(padded.device)]
