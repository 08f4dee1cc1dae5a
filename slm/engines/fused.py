"""Steps through `slm.engines.merged`'s merged weights, on any device."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .merged import FusedDecoder
from .merged_weights import Outputs


class FusedSteps:
    """Reads each new token alone, over its own cache; see `slm.engines.engine.Steps`.

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
        return self._decoder.prefill(padded(prompts, self._device), lengths, place)

    def next(self, tokens: Tensor) -> Tensor:
        """See `Steps`."""
        hidden = self._decoder.step(tokens, self._lengths, self._cache)
        self._lengths = [length + 1 for length in self._lengths]
        return hidden

    def feed(self, waiting: Sequence[Sequence[int]]) -> Tensor:
        """See `Steps`."""
        tokens, places = ragged(waiting, self._lengths, self._device)
        self._lengths = [n + len(new) for n, new in zip(self._lengths, waiting, strict=True)]
        return self._decoder.read(tokens, places, max(self._lengths), self._cache)

    def keep(self, rows: Sequence[int]) -> None:
        """See `Steps`."""
        self._cache.keep(rows)
        self._lengths = [self._lengths[index] for index in rows]

    def logits(self, hidden: Tensor, outputs: Outputs) -> Tensor:
        """See `Steps`."""
        return self._decoder.logits(hidden, outputs)


def ragged(
    waiting: Sequence[Sequence[int]], lengths: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Tokens and their places (B, S) of rows that have read `lengths` before.

    A row with less to read than another reads its last token again, at the same place.
    """
    width = max(len(new) for new in waiting)
    tokens = [[*new, *[new[-1]] * (width - len(new))] for new in waiting]
    counts = [
        range(length, length + len(new)) for length, new in zip(lengths, waiting, strict=True)
    ]
    places = [[*each, *[each[-1]] * (width - len(each))] for each in counts]
    return torch.tensor(tokens, device=device), torch.tensor(places, device=device)


def padded(prompts: Sequence[Tensor], device: torch.device) -> Tensor:
    """Prompts (S,) as one tensor (B, S), zeros after the shorter ones."""
    return pad_sequence(list(prompts), batch_first=True).to(device)
