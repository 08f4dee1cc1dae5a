"""Batched generation of speech: unequal prompts, one seed a row, rows that stop leave the batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .config import GenerationSettings
from .model import SpeechLM
from .sampling import choose, keep_allowed


@dataclass(frozen=True)
class Generation:
    """What came of one prompt.

    Attributes:
        tokens: (N,) int64 code tokens, the end token left out.
        truncated: Whether it was cut at its maximum instead of ending by itself.
        log_likelihood: Of the tokens (and the end, when reached) among those allowed at each step,
            at temperature 1; nats, summed.
    """

    tokens: Tensor
    truncated: bool
    log_likelihood: float


@torch.no_grad()
def generate(
    lm: SpeechLM,
    prompts: Sequence[Tensor],
    settings: GenerationSettings | None = None,
    *,
    max_new_tokens: int | Sequence[int],
    min_new_tokens: int | Sequence[int] = 1,
    seeds: Sequence[int] | None = None,
) -> list[Generation]:
    """Continue each prompt with codes until the model ends it or its maximum is reached.

    Only codes and, from the minimum on, the end token can be drawn. What a row gives depends on
    its prompt, limits and seed, not on its batch mates (at temperature 0 to the token; when
    sampling, up to float rounding). An end token inside a prompt means nothing.

    Args:
        lm: In eval mode.
        prompts: (S,) int64 each, S >= 1, any lengths.
        settings: How tokens are drawn.
        max_new_tokens: Most codes, for all rows or for each; lowered where `max_seq_len` leaves
            less room.
        min_new_tokens: Fewest codes, for all rows or for each.
        seeds: One a row; 0, 1, 2 ... when None.

    Returns:
        One `Generation` a prompt, in order.

    Raises:
        ValueError: The model is in training mode, or a prompt, limit or seed does not fit.
    """
    settings = settings or GenerationSettings()
    if lm.training:
        raise ValueError("expected a model in eval mode, got one in training mode: call lm.eval()")
    if not prompts:
        return []
    rows = _open_rows(lm, prompts, max_new_tokens, min_new_tokens, seeds)
    device = lm.head.weight.device
    codes = torch.zeros(lm.vocabulary.vocab_size, dtype=torch.bool, device=device)
    codes[lm.vocabulary.code_start :] = True
    steps = (_CachedSteps if settings.use_cache else _WholeSteps)(lm, rows)
    active, hidden = rows, steps.first()
    while True:
        allowed = codes.repeat(len(active), 1)
        allowed[:, lm.vocabulary.eos_id] = torch.tensor([row.may_end for row in active])
        logits = keep_allowed(lm.head(hidden).float(), allowed)
        uniforms = torch.stack([row.uniform() for row in active]).to(device)
        tokens = choose(logits, uniforms, settings)
        gains = logits.log_softmax(dim=-1).gather(1, tokens[:, None])[:, 0]
        for row, token, gain in zip(active, tokens.tolist(), gains.tolist(), strict=True):
            row.accept(token, gain, lm.vocabulary.eos_id)
        going = [index for index, row in enumerate(active) if not row.done]
        if not going:
            return [row.result() for row in rows]
        if len(going) < len(active):
            kept = torch.tensor(going, device=device)
            steps.keep(kept)
            tokens, active = tokens[kept], [active[index] for index in going]
        hidden = steps.next(tokens)


@dataclass
class _Row:
    """One prompt on its way."""

    prompt: Tensor
    max_new: int
    min_new: int
    uniforms: Tensor
    drawn: list[int] = field(default_factory=list)
    log_likelihood: float = 0.0
    ended: bool = False

    @property
    def may_end(self) -> bool:
        return len(self.drawn) >= self.min_new

    @property
    def done(self) -> bool:
        return self.ended or len(self.drawn) >= self.max_new

    def uniform(self) -> Tensor:
        return self.uniforms[len(self.drawn)]

    def accept(self, token: int, gain: float, eos_id: int) -> None:
        self.log_likelihood += gain
        if token == eos_id:
            self.ended = True
        else:
            self.drawn.append(token)

    def result(self) -> Generation:
        tokens = torch.tensor(self.drawn, dtype=torch.int64)
        return Generation(tokens, not self.ended, self.log_likelihood)


class _Steps(Protocol):
    """Final hidden states of each row's last token, (B, D), step by step."""

    def first(self) -> Tensor: ...

    def next(self, tokens: Tensor) -> Tensor: ...

    def keep(self, rows: Tensor) -> None: ...


class _CachedSteps:
    """Runs each new token alone, over cached keys and values."""

    def __init__(self, lm: SpeechLM, rows: list[_Row]) -> None:
        self._lm = lm
        device = lm.head.weight.device
        self._prompts = pad_sequence([row.prompt for row in rows], batch_first=True).to(device)
        self._lengths = torch.tensor([len(row.prompt) for row in rows], device=device)
        longest = max(len(row.prompt) + row.max_new for row in rows)
        self._cache = lm.new_cache(len(rows), longest)

    def first(self) -> Tensor:
        # Padding on the right fills slots past a row's end; its own tokens overwrite them before
        # any query is allowed to see them.
        positions = torch.arange(self._prompts.shape[1], device=self._prompts.device)
        hidden = self._lm.step(self._prompts, positions.expand_as(self._prompts), self._cache)
        return hidden[torch.arange(len(hidden), device=hidden.device), self._lengths - 1]

    def next(self, tokens: Tensor) -> Tensor:
        hidden = self._lm.step(tokens[:, None], self._lengths[:, None], self._cache)
        self._lengths = self._lengths + 1
        return hidden[:, 0]

    def keep(self, rows: Tensor) -> None:
        self._cache.keep(rows)
        self._lengths = self._lengths[rows]


class _WholeSteps:
    """Runs every sequence from its start at each step: slow, and the reference for the cache."""

    def __init__(self, lm: SpeechLM, rows: list[_Row]) -> None:
        self._lm = lm
        self._sequences = [row.prompt.to(lm.head.weight.device) for row in rows]

    def first(self) -> Tensor:
        padded = pad_sequence(self._sequences, batch_first=True)
        last = torch.tensor([len(sequence) - 1 for sequence in self._sequences])
        return self._lm.hidden(padded)[torch.arange(len(last)), last.to(padded.device)]

    def next(self, tokens: Tensor) -> Tensor:
        pairs = zip(self._sequences, tokens, strict=True)
        self._sequences = [torch.cat([sequence, token[None]]) for sequence, token in pairs]
        return self.first()

    def keep(self, rows: Tensor) -> None:
        self._sequences = [self._sequences[index] for index in rows.tolist()]


def _per_row(value: int | Sequence[int], count: int, name: str) -> list[int]:
    values = [value] * count if isinstance(value, int) else list(value)
    if len(values) != count:
        raise ValueError(f"expected {name} for {count} prompts, got {len(values)}")
    return values


def _open_rows(
    lm: SpeechLM,
    prompts: Sequence[Tensor],
    max_new_tokens: int | Sequence[int],
    min_new_tokens: int | Sequence[int],
    seeds: Sequence[int] | None,
) -> list[_Row]:
    """Check everything a caller can get wrong, before any work."""
    count, size = len(prompts), lm.vocabulary.vocab_size
    limits = _per_row(max_new_tokens, count, "max_new_tokens")
    minima = _per_row(min_new_tokens, count, "min_new_tokens")
    row_seeds = _per_row(range(count) if seeds is None else seeds, count, "seeds")
    rows = []
    for prompt, limit, minimum, seed in zip(prompts, limits, minima, row_seeds, strict=True):
        if prompt.ndim != 1 or not 1 <= len(prompt) < lm.config.max_seq_len:
            raise ValueError(
                f"expected prompts (S,) with S in [1, {lm.config.max_seq_len}) tokens, "
                f"got {tuple(prompt.shape)}; shorten the text or the prompt"
            )
        if prompt.min() < 0 or prompt.max() >= size:
            raise ValueError(f"expected tokens in [0, {size}), got up to {int(prompt.max())}")
        if not 0 <= minimum <= limit or limit < 1:
            raise ValueError(
                f"expected 0 <= min_new_tokens <= max_new_tokens and at least one, "
                f"got {minimum} and {limit}"
            )
        room = lm.config.max_seq_len - len(prompt)
        if minimum > room:
            raise ValueError(
                f"expected room for {minimum} codes after the prompt, got {room} of "
                f"{lm.config.max_seq_len} tokens; shorten the text or the prompt"
            )
        limit = min(limit, room)
        generator = torch.Generator().manual_seed(seed)
        uniforms = torch.rand(limit, generator=generator, dtype=torch.float64)
        rows.append(_Row(prompt, limit, minimum, uniforms))
    return rows
