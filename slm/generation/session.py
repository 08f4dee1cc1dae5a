"""Generation session: rows that draw a token a step, and requests that wait for a free slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from slm.engines.engine import Engine, open_engine
from slm.model.speech_lm import SpeechLM

from .config import GenerationSettings


@dataclass(frozen=True)
class Generation:
    """Code tokens of one request.

    Attributes:
        tokens: (N,) int64 code tokens, the end token left out.
        truncated: Whether it was cut instead of ending by itself or where it was asked to.
        log_likelihood: Of the tokens (and the end, when reached) among those allowed at each step,
            given the prompt, at temperature 1 and without guidance; nats, summed.
        stopped: "end" by itself, "limit" at its maximum, "silence" or "loop" by a `StopRules`.
        seed: The seed it was drawn with.
        attempt: Number of the attempt, from 0.
        rejected: Why each failed attempt was rejected: "limit", "silence" or "loop".
        counts: Codes of each unit of aligned speech; none of other speech.
    """

    tokens: Tensor
    truncated: bool
    log_likelihood: float
    stopped: str = "end"
    seed: int = 0
    attempt: int = 0
    rejected: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(kw_only=True)
class Row:
    """State of one request in a session.

    Attributes:
        contexts: Token sequences (S,) that the engine holds for it: the prompt, and under guidance
            the prompt without its text.
        longest: Tokens a context grows to, at most.
        seed: Of the request.
        open_end: Whether to reach the maximum is what was asked for.
        tokens: Code tokens so far.
        log_likelihood: Of them, nats.
        stopped: As in `Generation`; empty while the row is being generated.
    """

    contexts: list[Tensor]
    longest: int
    seed: int
    open_end: bool = False
    tokens: list[int] = field(default_factory=list)
    log_likelihood: float = 0.0
    stopped: str = ""

    def recent(self, window: int, first: int) -> list[int]:
        """The last `window` tokens counted from id `first`; -1 where there was none yet."""
        last = [token - first for token in self.tokens[-window:]]
        return [-1] * (window - len(last)) + last

    def generation(self) -> Generation:
        """The codes so far."""
        tokens, stopped = torch.tensor(self.tokens, dtype=torch.int64), self.stopped or "limit"
        truncated = stopped != "end" and not (self.open_end and stopped == "limit")
        return Generation(tokens, truncated, self.log_likelihood, stopped, self.seed)


RowT = TypeVar("RowT", bound=Row)


class Strategy(Protocol[RowT]):
    """The tokens a row consists of, and how they are drawn.

    Attributes:
        num_contexts: Sequences that the engine holds for a row.
    """

    num_contexts: int

    def open(self, request: Any) -> RowT:
        """Check a request and begin its row."""
        ...

    def advance(self, engine: Engine, rows: Sequence[RowT]) -> Tensor:
        """Let the engine read what the rows drew last; hidden states of every context."""
        ...

    def draw(self, engine: Engine, rows: Sequence[RowT], hidden: Tensor) -> None:
        """Draw one token a row from the hidden states of its contexts, (B * num_contexts, D)."""
        ...


class GenerationSession(Generic[RowT]):
    """A batch being generated, one token a row and step.

    The tokens of a row depend on its request, not on its batch mates (at temperature 0 to the
    token; when sampling, up to float rounding).

    Args:
        lm: In eval mode.
        strategy: Draws tokens.
        requests: One a row.
        settings: Of them `engine`, `weights` and `use_cache`.
        max_rows: Most rows at a time; the others wait for one to end and take its slot. None
            generates all at once.

    Raises:
        ValueError: The model is in training mode, a request does not fit, or `max_rows` is below 1.
    """

    def __init__(
        self,
        lm: SpeechLM,
        strategy: Strategy[RowT],
        requests: Sequence[Any],
        settings: GenerationSettings,
        max_rows: int | None = None,
    ) -> None:
        if lm.training:
            raise ValueError(
                "expected a model in eval mode, got one in training mode: call lm.eval()"
            )
        if max_rows is not None and max_rows < 1:
            raise ValueError(f"expected max_rows >= 1, got {max_rows}")
        self._strategy = strategy
        self._rows = [strategy.open(request) for request in requests]
        self._queue = self._rows[::-1]  # the next one last, so that pop is cheap
        self._active: list[RowT] = []
        self._slots = min(len(self._rows), max_rows or len(self._rows))
        self._engine = open_engine(
            lm,
            self._slots * strategy.num_contexts,
            max((row.longest for row in self._rows), default=0),
            engine=settings.engine,
            weights=settings.weights,
            use_cache=settings.use_cache,
        )

    @property
    def done(self) -> bool:
        """True if every row has stopped."""
        return not self._active and not self._queue

    @property
    def rows(self) -> Sequence[RowT]:
        """The rows, in the order of the requests."""
        return self._rows

    @property
    def num_ended(self) -> int:
        """Number of rows that ended by themselves."""
        return sum(row.stopped == "end" for row in self._rows)

    def results(self) -> list[Generation]:
        """The codes of each request so far, in order."""
        return [row.generation() for row in self._rows]

    @torch.no_grad()
    def step(self) -> None:
        """Draw one token for every active row; rows that stop make room for others."""
        hidden = []
        # 1. Read what was drawn last.
        if self._active:
            hidden.append(self._strategy.advance(self._engine, self._active))
        # 2. Fill free slots from the queue; prompts give hidden states, too.
        free = min(len(self._queue), self._slots - len(self._active))
        if free:
            joining = [self._queue.pop() for _ in range(free)]
            self._active += joining
            contexts = [context for row in joining for context in row.contexts]
            hidden.append(self._engine.prefill(contexts))
        # 3. Draw a token a row.
        read = hidden[0] if len(hidden) == 1 else torch.cat(hidden)
        self._strategy.draw(self._engine, self._active, read)
        # 4. Drop the rows that stopped.
        if any(row.stopped for row in self._active):
            self._drop_stopped()

    def _drop_stopped(self) -> None:
        """Let rows from the end take the slots of stopped ones, so that few rows move."""
        count = sum(not row.stopped for row in self._active)
        # The first `count` slots stay in use; rows beyond them move into those that are free.
        movers = [n for n, row in enumerate(self._active) if n >= count and not row.stopped]
        order = [n if not self._active[n].stopped else movers.pop() for n in range(count)]
        self._active = [self._active[index] for index in order]
        # The contexts of a row lie side by side in the engine.
        each = self._strategy.num_contexts
        self._engine.select([each * index + n for index in order for n in range(each)])
