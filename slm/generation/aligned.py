"""Speech of aligned language models: unit by unit, each with its number of codes, then its codes.

Before a unit's codes the model says how many they will be, and which unit comes next is fed to it.
So nothing can be skipped, said twice or go on for ever: what is spoken is the text, and as long as
the durations add up to. Rows of a batch are at different places; each has a queue of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from slm.data.documents import aligned_prefix, unit_tokens
from slm.engines.engine import open_steps
from slm.model.speech_lm import SpeechLM
from slm.text.phone_tokenizer import (
    DURATION_START,
    MAX_DURATION,
    PAUSE_ID,
    UNIT_COUNT,
    is_word_start,
)

from .config import GenerationSettings
from .generate import Generation
from .sampling import choose

# Codes: no phone lasts longer than half a second, no pause within a sentence longer than a second.
LONGEST_PHONE = 12
LONGEST_PAUSE = 24


@dataclass(frozen=True)
class AlignedRequest:
    """What one row says.

    Attributes:
        units: (N,) int64 ids as in `PhoneTokenizer`, at least one.
        prompt: (P,) codes of another utterance of the speaker; None for a voice of the model's.
        seed: Draws durations and codes.
    """

    units: np.ndarray
    prompt: np.ndarray | None = None
    seed: int = 0


def speak_aligned(
    lm: SpeechLM,
    requests: Sequence[AlignedRequest],
    settings: GenerationSettings | None = None,
    *,
    duration_settings: GenerationSettings | None = None,
) -> list[Generation]:
    """Speak some texts in one batch; see `AlignedSpeaking`.

    Returns:
        One `Generation` a request, in order; the log-likelihood is that of the codes alone, given
        their durations.
    """
    if not requests:
        return []
    speaking = AlignedSpeaking(lm, requests, settings, duration_settings=duration_settings)
    while not speaking.done:
        speaking.advance()
    return speaking.results()


class AlignedSpeaking:
    """A batch being spoken, one drawn token a row at a time.

    What a row gives depends on its request alone, not on its batch mates (at temperature 0 to the
    token; when sampling, up to float rounding).

    Args:
        lm: A model of aligned speech in eval mode.
        requests: One a row.
        settings: How codes are drawn; guidance is not to be had here.
        duration_settings: How durations are drawn; as codes when None.

    Raises:
        ValueError: Another kind of model, settings that cannot be had, a unit or a code that the
            vocabulary does not have, or a text whose shortest speech does not fit the context.
    """

    def __init__(
        self,
        lm: SpeechLM,
        requests: Sequence[AlignedRequest],
        settings: GenerationSettings | None = None,
        *,
        duration_settings: GenerationSettings | None = None,
    ) -> None:
        self._settings = settings or GenerationSettings()
        self._duration_settings = duration_settings or self._settings
        _check(lm, self._settings, self._duration_settings)
        self._rows = self._active = [_open(lm, request) for request in requests]
        room = min(max(row.most_tokens() for row in self._rows), lm.config.max_seq_len)
        self._steps = open_steps(
            lm,
            len(self._rows),
            room,
            engine=self._settings.engine,
            weights=self._settings.weights,
            use_cache=self._settings.use_cache,
        )
        start = lm.vocabulary.text_start + DURATION_START
        self._durations = range(start, start + MAX_DURATION + 1)
        self._codes = range(lm.vocabulary.code_start, lm.vocabulary.vocab_size)
        self._is_open = False

    @property
    def done(self) -> bool:
        """Whether every row has said its text."""
        return not self._active

    def drawn(self, row: int) -> Sequence[int]:
        """Code tokens of a row so far."""
        return self._rows[row].codes

    def results(self) -> list[Generation]:
        """What came of each request so far, in order."""
        return [row.result() for row in self._rows]

    def counts(self, row: int) -> Sequence[int]:
        """Codes of each unit of a row so far."""
        return self._rows[row].counts

    @torch.no_grad()
    def advance(self) -> None:
        """Draw one duration or code for every row that still speaks; those that end leave."""
        hidden = self._read()
        uniforms = torch.stack([row.uniforms() for row in self._active])
        within = [n for n, row in enumerate(self._active) if row.left]
        between = [n for n, row in enumerate(self._active) if not row.left]
        for draw, chosen in ((self._draw_codes, within), (self._draw_durations, between)):
            if chosen:
                draw([self._active[n] for n in chosen], hidden[chosen], uniforms[chosen])
        going = [n for n, row in enumerate(self._active) if not row.stopped]
        if len(going) < len(self._active):
            self._active = [self._active[n] for n in going]
            if going:
                self._steps.keep(going)

    def _read(self) -> Tensor:
        """Feed every row what it has waiting; hidden states (B, D) after its last token."""
        waiting = [row.waiting for row in self._active]
        for row in self._active:
            row.length += len(row.waiting)
            row.waiting = []
        if self._is_open:
            return self._steps.feed(waiting)
        self._is_open = True
        return self._steps.admit([torch.tensor(tokens) for tokens in waiting])

    def _draw_durations(self, rows: list["_Row"], hidden: Tensor, uniforms: Tensor) -> None:
        logits = self._steps.logits(hidden, (self._durations,))
        for index, row in enumerate(rows):
            fewest, most = row.bounds()
            logits[index, :fewest] = float("-inf")
            logits[index, most + 1 :] = float("-inf")
        counts = choose(logits, uniforms.to(hidden.device), self._duration_settings)
        for row, count in zip(rows, counts.tolist(), strict=True):
            row.begin(count, self._durations.start)

    def _draw_codes(self, rows: list["_Row"], hidden: Tensor, uniforms: Tensor) -> None:
        start, settings = self._codes.start, self._settings
        logits = self._steps.logits(hidden, (self._codes,))
        recent = None
        if settings.repetition_window:
            recent = torch.tensor([row.recent(settings.repetition_window, start) for row in rows])
            recent = recent.to(hidden.device)
        codes = choose(logits, uniforms.to(hidden.device), settings, recent)
        gains = logits.log_softmax(dim=-1).gather(1, codes[:, None])[:, 0]
        for row, code, gain in zip(rows, codes.tolist(), gains.tolist(), strict=True):
            row.say(start + code, gain)


@dataclass
class _Row:
    """One text on its way."""

    units: list[int]
    ahead: list[int]  # tokens still to be read: the unit ahead of each but the first
    waiting: list[int]  # tokens to be fed before the next draw
    longest: int  # tokens the context holds
    generator: torch.Generator
    length: int = 0
    left: int = 0  # codes of the unit that are still to be drawn
    counts: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    log_likelihood: float = 0.0
    stopped: str = ""

    def uniforms(self) -> Tensor:
        return torch.rand(2, generator=self.generator, dtype=torch.float64)

    def most_tokens(self) -> int:
        """Tokens of the longest document this can become."""
        pauses = self.units.count(PAUSE_ID)
        codes = LONGEST_PAUSE * pauses + LONGEST_PHONE * (len(self.units) - pauses)
        return len(self.waiting) + codes + 2 * len(self.units)

    def bounds(self) -> tuple[int, int]:
        """Fewest and most codes of the unit that comes next; a whole word has at least one."""
        place = len(self.counts)
        if self.units[place] == PAUSE_ID:
            return 0, self._room(LONGEST_PAUSE)
        ends = place + 1 == len(self.units) or _begins(self.units[place + 1])
        silent = ends and not self._word_codes()
        return int(silent), max(int(silent), self._room(LONGEST_PHONE))

    def begin(self, count: int, start: int) -> None:
        """Take a unit's number of codes."""
        self.counts.append(count)
        self.left = count
        self.waiting.append(start + count)
        if not count:
            self._next_unit()

    def say(self, token: int, gain: float) -> None:
        """Take a code."""
        self.codes.append(token)
        self.waiting.append(token)
        self.log_likelihood += gain
        self.left -= 1
        if not self.left:
            self._next_unit()

    def recent(self, window: int, start: int) -> list[int]:
        last = [token - start for token in self.codes[-window:]]
        return [-1] * (window - len(last)) + last

    def result(self) -> Generation:
        tokens = torch.tensor(self.codes, dtype=torch.int64)
        stopped = self.stopped or "limit"
        return Generation(tokens, stopped != "end", self.log_likelihood, stopped)

    def _next_unit(self) -> None:
        if len(self.counts) == len(self.units):
            self.stopped = "end"
        else:
            self.waiting.append(self.ahead[len(self.counts) - 1])

    def _room(self, wanted: int) -> int:
        """What fits, so that every unit that follows can still have a code or two."""
        after = 4 * (len(self.units) - len(self.counts))
        return max(1, min(wanted, self.longest - self.length - after))

    def _word_codes(self) -> int:
        """Codes of the word so far, the unit that comes next not among them."""
        total = 0
        for place in range(len(self.counts) - 1, -1, -1):
            if self.units[place] == PAUSE_ID:
                break
            total += self.counts[place]
            if is_word_start(self.units[place]):
                break
        return total if not is_word_start(self.units[len(self.counts)]) else 0


def _begins(unit: int) -> bool:
    return unit == PAUSE_ID or is_word_start(unit)


def _open(lm: SpeechLM, request: AlignedRequest) -> _Row:
    units = np.asarray(request.units)
    if units.ndim != 1 or not len(units) or units.min() < 0 or units.max() >= UNIT_COUNT:
        raise ValueError(f"expected units (N,) in [0, {UNIT_COUNT}), N >= 1, got {units}")
    lookahead = lm.config.lookahead
    prompt = None if request.prompt is None else request.prompt[: lm.config.max_prompt_codes]
    start = aligned_prefix(lm.vocabulary, units, lookahead, prompt)
    shortest = len(start) + 4 * len(units)
    if shortest > lm.config.max_seq_len:
        raise ValueError(
            f"expected a text of at most {lm.config.max_seq_len} tokens with its speech, got "
            f"{shortest} or more; speak it sentence by sentence"
        )
    ahead = unit_tokens(lm.vocabulary, units, lookahead)[lookahead + 1 :]
    generator = torch.Generator().manual_seed(request.seed)
    row = _Row(units.tolist(), ahead.tolist(), start.tolist(), lm.config.max_seq_len, generator)
    return row


def _check(lm: SpeechLM, *settings: GenerationSettings) -> None:
    if lm.training:
        raise ValueError("expected a model in eval mode, got one in training mode: call lm.eval()")
    if not lm.config.is_aligned:
        raise ValueError("expected a model of aligned speech, got one with lookahead 0")
    for each in settings:
        if each.guidance != 1:
            raise ValueError(
                f"expected guidance 1 for a model of aligned speech, got {each.guidance}"
            )
