"""Batched generation of speech: unequal prompts, one seed a row, rows that stop leave the batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .config import GenerationSettings
from .decoding import fits, fused_decoder
from .model import SpeechLM
from .sampling import choose, guide
from .stopping import StopRules


@dataclass(frozen=True)
class Generation:
    """What came of one prompt.

    Attributes:
        tokens: (N,) int64 code tokens, the end token left out.
        truncated: Whether it was cut instead of ending by itself.
        log_likelihood: Of the tokens (and the end, when reached) among those allowed at each step,
            given the prompt, at temperature 1 and without guidance; nats, summed.
        stopped: "end" by itself, "limit" at its maximum, "silence" or "loop" by a `StopRules`.
    """

    tokens: Tensor
    truncated: bool
    log_likelihood: float
    stopped: str = "end"


def generate(
    lm: SpeechLM,
    prompts: Sequence[Tensor],
    settings: GenerationSettings | None = None,
    *,
    max_new_tokens: int | Sequence[int],
    min_new_tokens: int | Sequence[int] = 1,
    seeds: Sequence[int] | None = None,
    unguided: Sequence[Tensor] | None = None,
    rules: StopRules | None = None,
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
        unguided: The prompts without their text, for `settings.guidance` other than 1.
        rules: What else ends a row; None for nothing.

    Returns:
        One `Generation` a prompt, in order.

    Raises:
        ValueError: The model is in training mode, or a prompt, limit or seed does not fit.
    """
    if not prompts and not lm.training:
        return []
    speaking = Speaking(
        lm,
        prompts,
        settings,
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        seeds=seeds,
        unguided=unguided,
        rules=rules,
    )
    while not speaking.done:
        speaking.advance()
    return speaking.results()


class Speaking:
    """A batch being generated, one token a row at a time; arguments as in `generate`."""

    def __init__(
        self,
        lm: SpeechLM,
        prompts: Sequence[Tensor],
        settings: GenerationSettings | None = None,
        *,
        max_new_tokens: int | Sequence[int],
        min_new_tokens: int | Sequence[int] = 1,
        seeds: Sequence[int] | None = None,
        unguided: Sequence[Tensor] | None = None,
        rules: StopRules | None = None,
    ) -> None:
        if lm.training:
            raise ValueError(
                "expected a model in eval mode, got one in training mode: call lm.eval()"
            )
        self._settings = settings or GenerationSettings()
        self._rules = rules
        rows = _open_rows(lm, prompts, max_new_tokens, min_new_tokens, seeds)
        self._rows = self._active = rows
        self._guided = self._settings.guidance != 1
        contexts = [(row.prompt, row.max_new) for row in rows]
        if self._guided:
            contexts += _unguided(lm, rows, unguided)
        self._steps = _steps(lm, contexts, self._settings)
        self._start = lm.vocabulary.code_start
        self._drawn: Tensor | None = None

    @property
    def done(self) -> bool:
        """Whether every row has stopped."""
        return not self._active

    def drawn(self, row: int) -> Sequence[int]:
        """Code tokens of a row so far."""
        return self._rows[row].drawn

    def results(self) -> list[Generation]:
        """What came of each prompt so far, in order."""
        return [row.result() for row in self._rows]

    @torch.no_grad()
    def advance(self) -> None:
        """Draw one token for every row that still speaks; those that stop leave the batch."""
        if self._drawn is None:
            logits = self._steps.first()
        else:
            twice = torch.cat([self._drawn, self._drawn]) if self._guided else self._drawn
            logits = self._steps.next(twice)
        columns, gains = self._choose(logits)
        for row, column, gain in zip(self._active, columns.tolist(), gains.tolist(), strict=True):
            row.accept(column, gain, self._start, self._rules)
        going = [index for index, row in enumerate(self._active) if not row.done]
        self._drawn = columns - 1 + self._start
        if len(going) < len(self._active):
            count = len(self._active)
            self._active = [self._active[index] for index in going]
            self._drawn = self._drawn[going]
            if going:
                pairs = [index + count for index in going] if self._guided else []
                self._steps.keep(torch.tensor(going + pairs, device=logits.device))

    def _choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Columns drawn, 0 for the end, else 1 + code; and their log-likelihoods."""
        device, settings = logits.device, self._settings
        plain = logits[: len(self._active)]
        early = [index for index, row in enumerate(self._active) if not row.may_end]
        guided = plain
        if self._guided:
            guided = guide(plain, logits[len(self._active) :], settings.guidance)
        plain, guided = plain.clone(), guided.clone()
        for part in (plain, guided):
            part[early, 0] = float("-inf")
        uniforms = torch.stack([row.uniform() for row in self._active]).to(device)
        recent = None
        if settings.repetition_window:
            rows = [row.recent(settings.repetition_window) for row in self._active]
            recent = torch.tensor(rows, device=device)
        columns = choose(guided, uniforms, settings, recent)
        return columns, plain.log_softmax(dim=-1).gather(1, columns[:, None])[:, 0]


@dataclass
class _Row:
    """One prompt on its way."""

    prompt: Tensor
    max_new: int
    min_new: int
    uniforms: Tensor
    drawn: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    log_likelihood: float = 0.0
    stopped: str = ""

    @property
    def may_end(self) -> bool:
        return len(self.drawn) >= self.min_new

    @property
    def done(self) -> bool:
        return bool(self.stopped)

    def uniform(self) -> Tensor:
        return self.uniforms[:, len(self.drawn)]

    def recent(self, window: int) -> list[int]:
        """Columns of the last tokens, -1 where there was none yet."""
        last = [code + 1 for code in self.codes[-window:]]
        return [-1] * (window - len(last)) + last

    def accept(self, column: int, gain: float, code_start: int, rules: StopRules | None) -> None:
        self.log_likelihood += gain
        if column == 0:
            self.stopped = "end"
            return
        self.codes.append(column - 1)
        self.drawn.append(column - 1 + code_start)
        if rules is not None:
            self.stopped = rules.broken(self.codes)
        if not self.stopped and len(self.drawn) >= self.max_new:
            self.stopped = "limit"

    def result(self) -> Generation:
        tokens = torch.tensor(self.drawn, dtype=torch.int64)
        stopped = self.stopped or "limit"
        return Generation(tokens, stopped != "end", self.log_likelihood, stopped)


class _Steps(Protocol):
    """Logits of the end and of every code after each row's last token, (B, 1 + codes) float32."""

    def first(self) -> Tensor: ...

    def next(self, tokens: Tensor) -> Tensor: ...

    def keep(self, rows: Tensor) -> None: ...


_Contexts = list[tuple[Tensor, int]]  # a prompt and the most tokens that may follow


def _steps(lm: SpeechLM, contexts: _Contexts, settings: GenerationSettings) -> _Steps:
    if not settings.use_cache:
        return _WholeSteps(lm, contexts)
    if not fits(lm):
        if settings.weights != "exact":
            raise ValueError(f"expected exact weights for this model, got {settings.weights!r}")
        return _CachedSteps(lm, contexts)
    return _FusedSteps(lm, contexts, settings.weights)


class _FusedSteps:
    """Runs each new token alone through the merged weights."""

    def __init__(self, lm: SpeechLM, contexts: _Contexts, weights: str) -> None:
        device = lm.head.weight.device
        self._decoder = fused_decoder(lm, weights)
        self._prompts = _padded(contexts, device)
        self._lengths = [len(prompt) for prompt, _ in contexts]
        self._cache = self._decoder.new_cache(len(contexts), _longest(contexts))

    def first(self) -> Tensor:
        # Padding on the right fills slots past a row's end; its own tokens overwrite them before
        # any query is allowed to see them.
        return self._decoder.prefill(self._prompts, self._lengths, self._cache)

    def next(self, tokens: Tensor) -> Tensor:
        logits = self._decoder.step(tokens, self._lengths, self._cache)
        self._lengths = [length + 1 for length in self._lengths]
        return logits

    def keep(self, rows: Tensor) -> None:
        self._cache.keep(rows)
        self._lengths = [self._lengths[index] for index in rows.tolist()]


class _CachedSteps:
    """Runs each new token alone through the model itself, over its cache: fits any decoder."""

    def __init__(self, lm: SpeechLM, contexts: _Contexts) -> None:
        self._lm = lm
        device = lm.head.weight.device
        self._prompts = _padded(contexts, device)
        self._lengths = torch.tensor([len(prompt) for prompt, _ in contexts], device=device)
        self._cache = lm.new_cache(len(contexts), _longest(contexts))

    def first(self) -> Tensor:
        positions = torch.arange(self._prompts.shape[1], device=self._prompts.device)
        hidden = self._lm.step(self._prompts, positions.expand_as(self._prompts), self._cache)
        rows = torch.arange(len(hidden), device=hidden.device)
        return _spoken_logits(self._lm, hidden[rows, self._lengths - 1])

    def next(self, tokens: Tensor) -> Tensor:
        hidden = self._lm.step(tokens[:, None], self._lengths[:, None], self._cache)
        self._lengths = self._lengths + 1
        return _spoken_logits(self._lm, hidden[:, 0])

    def keep(self, rows: Tensor) -> None:
        self._cache.keep(rows)
        self._lengths = self._lengths[rows]


class _WholeSteps:
    """Runs every sequence from its start at each step: slow, and the reference for the caches."""

    def __init__(self, lm: SpeechLM, contexts: _Contexts) -> None:
        self._lm = lm
        self._sequences = [prompt.to(lm.head.weight.device) for prompt, _ in contexts]

    def first(self) -> Tensor:
        padded = pad_sequence(self._sequences, batch_first=True)
        last = torch.tensor([len(sequence) - 1 for sequence in self._sequences])
        hidden = self._lm.hidden(padded)[torch.arange(len(last)), last.to(padded.device)]
        return _spoken_logits(self._lm, hidden)

    def next(self, tokens: Tensor) -> Tensor:
        pairs = zip(self._sequences, tokens, strict=True)
        self._sequences = [torch.cat([sequence, token[None]]) for sequence, token in pairs]
        return self.first()

    def keep(self, rows: Tensor) -> None:
        self._sequences = [self._sequences[index] for index in rows.tolist()]


def _spoken_logits(lm: SpeechLM, hidden: Tensor) -> Tensor:
    """The end first, then the codes: no other token may be said."""
    logits = lm.head(hidden).float()
    end = lm.vocabulary.eos_id
    return torch.cat([logits[:, end : end + 1], logits[:, lm.vocabulary.code_start :]], dim=1)


def _padded(contexts: _Contexts, device: torch.device) -> Tensor:
    return pad_sequence([prompt for prompt, _ in contexts], batch_first=True).to(device)


def _longest(contexts: _Contexts) -> int:
    return max(len(prompt) + room for prompt, room in contexts)


def _unguided(lm: SpeechLM, rows: Sequence["_Row"], prompts: Sequence[Tensor] | None) -> _Contexts:
    """The second row of each request under guidance."""
    if prompts is None or len(prompts) != len(rows):
        got = "none" if prompts is None else len(prompts)
        raise ValueError(
            f"expected a prompt without text for each of {len(rows)} prompts under guidance, "
            f"got {got}"
        )
    for row, prompt in zip(rows, prompts, strict=True):
        if not 1 <= len(prompt) <= lm.config.max_seq_len - row.max_new:
            raise ValueError(
                f"expected prompts without text of 1 to {len(row.prompt)} tokens, got {len(prompt)}"
            )
    return [(prompt, row.max_new) for row, prompt in zip(rows, prompts, strict=True)]


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
        uniforms = torch.rand(2, limit, generator=generator, dtype=torch.float64)
        rows.append(_Row(prompt, limit, minimum, uniforms))
    return rows
