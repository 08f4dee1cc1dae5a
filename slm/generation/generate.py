"""Batched generation of speech: unequal prompts, one seed a row, no place left empty."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from slm.engines.engine import open_steps
from slm.engines.merged_weights import spoken_outputs
from slm.model.speech_lm import SpeechLM

from .config import GenerationSettings
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
    max_rows: int | None = None,
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
        max_rows: Most rows spoken at a time; the others wait for one to end and take its place.
            None speaks all at once.

    Returns:
        One `Generation` a prompt, in order.

    Raises:
        ValueError: The model is in training mode, or a prompt, limit or seed does not fit, or
            `max_rows` is below 1.
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
        max_rows=max_rows,
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
        max_rows: int | None = None,
    ) -> None:
        if lm.training:
            raise ValueError(
                "expected a model in eval mode, got one in training mode: call lm.eval()"
            )
        if max_rows is not None and max_rows < 1:
            raise ValueError(f"expected max_rows >= 1, got {max_rows}")
        self._settings = settings or GenerationSettings()
        self._rules = rules
        self._rows = _open_rows(lm, prompts, max_new_tokens, min_new_tokens, seeds)
        self._guided = self._settings.guidance != 1
        if self._guided:
            _give_unguided(lm, self._rows, unguided)
        self._waiting = list(reversed(self._rows))
        self._active: list[_Row] = []
        self._places = min(len(self._rows), max_rows or len(self._rows))
        most = self._places * (2 if self._guided else 1)
        longest = max((row.longest for row in self._rows), default=0)
        self._steps = open_steps(
            lm,
            most,
            longest,
            engine=self._settings.engine,
            weights=self._settings.weights,
            use_cache=self._settings.use_cache,
        )
        self._outputs = spoken_outputs(lm)
        self._start = lm.vocabulary.code_start
        self._device = lm.head.weight.device
        self._drawn = torch.zeros(0, dtype=torch.int64, device=self._device)

    @property
    def done(self) -> bool:
        """Whether every row has stopped."""
        return not self._active and not self._waiting

    def drawn(self, row: int) -> Sequence[int]:
        """Code tokens of a row so far."""
        return self._rows[row].drawn

    def results(self) -> list[Generation]:
        """What came of each prompt so far, in order."""
        return [row.result() for row in self._rows]

    @torch.no_grad()
    def advance(self) -> None:
        """Draw one token for every row that still speaks; those that stop make room for others."""
        hidden = []
        if self._active:
            twice = self._drawn.repeat_interleave(2) if self._guided else self._drawn
            hidden.append(self._steps.next(twice))
        if self._waiting and len(self._active) < self._places:
            hidden.append(self._admit())
        read = hidden[0] if len(hidden) == 1 else torch.cat(hidden)
        columns, gains = self._choose(self._steps.logits(read, self._outputs))
        for row, column, gain in zip(self._active, columns.tolist(), gains.tolist(), strict=True):
            row.accept(column, gain, self._start, self._rules)
        self._drawn = columns - 1 + self._start
        if any(row.done for row in self._active):
            self._drop_finished()

    def _admit(self) -> Tensor:
        """Fill free places with waiting rows; hidden states after their prompts."""
        count = min(len(self._waiting), self._places - len(self._active))
        admitted = [self._waiting.pop() for _ in range(count)]
        self._active += admitted
        prompts = [prompt for row in admitted for prompt in row.contexts]
        return self._steps.admit(prompts)

    def _drop_finished(self) -> None:
        """Rows from the end take the places of finished ones, so that few rows move."""
        count = sum(not row.done for row in self._active)
        movers = [i for i, row in enumerate(self._active) if i >= count and not row.done]
        order = [i if not self._active[i].done else movers.pop() for i in range(count)]
        self._active = [self._active[index] for index in order]
        self._drawn = self._drawn[order]
        pairs = [row for index in order for row in (2 * index, 2 * index + 1)]
        self._steps.keep(pairs if self._guided else order)

    def _choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Columns drawn, 0 for the end, else 1 + code; and their log-likelihoods."""
        settings, plain, guided = self._settings, logits, logits
        if self._guided:
            plain, without = logits.unflatten(0, (-1, 2)).unbind(1)
            guided = guide(plain, without, settings.guidance)
        early = [index for index, row in enumerate(self._active) if not row.may_end]
        if early:
            plain, guided = plain.clone(), guided.clone()
            plain[early, 0] = guided[early, 0] = float("-inf")
        recent, uniforms = None, logits.new_zeros(len(plain), dtype=torch.float64)
        if settings.temperature:
            uniforms = torch.stack([row.uniform() for row in self._active]).to(self._device)
        if settings.repetition_window:
            rows = [row.recent(settings.repetition_window) for row in self._active]
            recent = torch.tensor(rows, device=self._device)
        columns = choose(guided, uniforms, settings, recent)
        return columns, plain.log_softmax(dim=-1).gather(1, columns[:, None])[:, 0]


@dataclass
class _Row:
    """One prompt on its way."""

    prompt: Tensor
    max_new: int
    min_new: int
    uniforms: Tensor
    unguided: Tensor | None = None
    drawn: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    log_likelihood: float = 0.0
    stopped: str = ""

    @property
    def contexts(self) -> list[Tensor]:
        """What is read before the first token: the prompt, under guidance also the other one."""
        return [self.prompt] if self.unguided is None else [self.prompt, self.unguided]

    @property
    def longest(self) -> int:
        """Most tokens of a context and what follows."""
        return max(map(len, self.contexts)) + self.max_new

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


def _give_unguided(lm: SpeechLM, rows: Sequence[_Row], prompts: Sequence[Tensor] | None) -> None:
    """Give each row the prompt that guidance leads away from."""
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
        row.unguided = prompt


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
