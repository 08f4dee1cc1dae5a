"""Generation by aligned models: unit by unit, each with its number of codes, then its codes.

Before a unit's codes the model draws how many they will be, and is then given the next unit. So no
unit can be left out, repeated or drawn out for ever: the speech is the text, and lasts as long as
the durations add up to. Rows of a batch are at different units; each has tokens of its own to read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from slm.data.documents import aligned_prefix, prefix_tokens, unit_tokens
from slm.engines.engine import Engine
from slm.model.speech_lm import SpeechLM
from slm.text.phone_tokenizer import (
    DURATION_START,
    MAX_DURATION,
    PAUSE_ID,
    UNIT_COUNT,
    is_word_start,
)

from .config import GenerationSettings
from .sampling import choose, guided_logits
from .session import Generation, Row

# Codes: no phone lasts longer than half a second, no pause within a sentence longer than a second.
LONGEST_PHONE = 12
LONGEST_PAUSE = 24


@dataclass(frozen=True)
class AlignedRequest:
    """Units of phones to be spoken.

    Attributes:
        units: (N,) int64 ids as in `PhoneTokenizer`, at least one.
        prompt: (P,) codes of another utterance of the speaker; None for a voice of the model's.
        seed: Of the draws of durations and codes.
        speed: Durations are divided by it; see `SpeechRequest`.
    """

    units: np.ndarray
    prompt: np.ndarray | None = None
    seed: int = 0
    speed: float = 1.0


@dataclass(kw_only=True)
class AlignedRow(Row):
    """State of an `AlignedRequest`.

    Attributes:
        units: Ids of all units.
        ahead: Tokens that follow the prompt: the unit ahead of each unit but the first.
        context_size: Tokens the model's context holds.
        generator: Draws.
        pending: Tokens to be read before the next draw.
        length: Tokens read so far.
        left: Codes of the current unit that are still to be drawn.
        counts: Codes of each unit so far.
        scale: Of durations as they are drawn.
        owed: Codes that rounding has left out so far, in [-0.5, 0.5].
        textless: (D,) state of the context without the text, under guidance on it, after the last
            code that it read; None until it has read its prefix.
    """

    units: list[int]
    ahead: list[int]
    context_size: int
    generator: torch.Generator
    pending: list[int] = field(default_factory=list)
    length: int
    left: int = 0
    counts: list[int] = field(default_factory=list)
    scale: float = 1.0
    owed: float = 0.0
    textless: Tensor | None = None

    def generation(self) -> Generation:
        """The codes so far, and how many each unit has."""
        return replace(super().generation(), counts=tuple(self.counts))

    def bounds(self) -> tuple[int, int]:
        """Fewest and most codes of the next unit; a whole word has at least one."""
        index = len(self.counts)
        if self.units[index] == PAUSE_ID:
            return 0, self._room(LONGEST_PAUSE)
        following = self.units[index + 1 : index + 2]
        ends_word = not following or following[0] == PAUSE_ID or is_word_start(following[0])
        fewest = int(ends_word and not self._word_codes())
        return fewest, max(fewest, self._room(LONGEST_PHONE))

    def scaled(self, count: int) -> int:
        """Scale a duration as drawn to the codes of the next unit.

        What rounding leaves out of one unit goes to the next, so that all together are scaled.
        """
        if self.scale == 1:
            return count
        fewest, most = self.bounds()
        exact = count * self.scale + self.owed
        taken = min(max(math.floor(exact + 0.5), fewest), most)
        # What a bound takes away is lost: no other phone is to be drawn out for it.
        self.owed = min(max(exact - taken, -0.5), 0.5)
        return taken

    def begin_unit(self, count: int, token: int) -> None:
        """Take the number of codes of the next unit, and its token."""
        self.counts.append(count)
        self.left = count
        self.pending.append(token)
        if not count:
            self._end_unit()

    def add_code(self, token: int, gain: float) -> None:
        """Take a code of the current unit, and its log-likelihood."""
        self.tokens.append(token)
        self.pending.append(token)
        self.log_likelihood += gain
        self.left -= 1
        if not self.left:
            self._end_unit()

    def _end_unit(self) -> None:
        if len(self.counts) == len(self.units):
            self.stopped = "end"
        else:
            # The next unit is read `lookahead` units early, so that context precedes it.
            self.pending.append(self.ahead[len(self.counts) - 1])

    def _room(self, wanted: int) -> int:
        """Codes that fit, so that every unit that follows can still have a code or two."""
        after = 4 * (len(self.units) - len(self.counts))
        return max(1, min(wanted, self.context_size - self.length - after))

    def _word_codes(self) -> int:
        """Codes so far of the word that the next unit belongs to."""
        index, total = len(self.counts), 0
        # Back over the word's units; a pause before them is none of it.
        while not is_word_start(self.units[index]):
            index -= 1
            if index < 0 or self.units[index] == PAUSE_ID:
                break
            total += self.counts[index]
        return total


class DurationsThenCodes:
    """The strategy of `AlignedRequest`: a unit's number of codes, then so many codes.

    The log-likelihood of a row is that of the codes alone, given their durations. Under guidance a
    row has further contexts: one without the prompt reads all that is drawn, one without the text
    is a document of speech alone and reads nothing but codes. Durations are drawn from the whole
    context, without guidance.

    Args:
        lm: A model of aligned speech.
        settings: How codes are drawn.

    Raises:
        ValueError: Another kind of model.
    """

    def __init__(self, lm: SpeechLM, settings: GenerationSettings) -> None:
        self._settings = settings
        if not lm.config.is_aligned:
            raise ValueError("expected a model of aligned speech, got one with lookahead 0")
        self._duration_settings = settings.for_durations(lm.config)
        self._left_out = settings.left_out
        self.num_contexts = 1 + len(self._left_out)
        self._config, self._vocabulary = lm.config, lm.vocabulary
        start = lm.vocabulary.text_start + DURATION_START
        self._durations = range(start, start + MAX_DURATION + 1)
        self._codes = range(lm.vocabulary.code_start, lm.vocabulary.vocab_size)

    def open(self, request: AlignedRequest) -> AlignedRow:
        """See `Strategy`."""
        config, units = self._config, np.asarray(request.units)
        if units.ndim != 1 or not len(units) or units.min() < 0 or units.max() >= UNIT_COUNT:
            raise ValueError(f"expected units (N,) in [0, {UNIT_COUNT}), N >= 1, got {units}")
        voice = None if request.prompt is None else request.prompt[: config.max_prompt_codes]
        prompt = aligned_prefix(self._vocabulary, units, config.lookahead, voice)
        # A unit takes its own token, its duration and a code or two.
        shortest = len(prompt) + 4 * len(units)
        if shortest > config.max_seq_len:
            raise ValueError(
                f"expected a text of at most {config.max_seq_len} tokens with its speech, got "
                f"{shortest} or more; synthesize it sentence by sentence (--long, speak_long)"
            )
        ahead = unit_tokens(self._vocabulary, units, config.lookahead)[config.lookahead + 1 :]
        # The engine holds the longest speech that the bounds allow.
        pauses = int((units == PAUSE_ID).sum())
        most_codes = LONGEST_PAUSE * pauses + LONGEST_PHONE * (len(units) - pauses)
        contexts = [prompt]
        if "text" in self._left_out:
            contexts.append(prefix_tokens(self._vocabulary, None, voice))
        if "prompt" in self._left_out:
            contexts.append(aligned_prefix(self._vocabulary, units, config.lookahead))
        return AlignedRow(
            contexts=[torch.from_numpy(each) for each in contexts],
            longest=min(len(prompt) + most_codes + 2 * len(units), config.max_seq_len),
            seed=request.seed,
            units=units.tolist(),
            ahead=ahead.tolist(),
            context_size=config.max_seq_len,
            generator=torch.Generator().manual_seed(request.seed),
            length=len(prompt),
            scale=config.duration_scale / request.speed,
        )

    def advance(self, engine: Engine, rows: Sequence[AlignedRow]) -> Tensor:
        """See `Strategy`."""
        pending = []
        for row in rows:
            drawn, row.pending = row.pending, []
            row.length += len(drawn)
            pending.append(drawn)
            if "text" in self._left_out:
                pending.append([token for token in drawn if token in self._codes])
            if "prompt" in self._left_out:
                pending.append(drawn)
        hidden = engine.extend(pending)
        if "text" in self._left_out:
            # A context that read nothing still stands where it did.
            places = range(1, len(pending), self.num_contexts)
            idle = [
                (place, row.textless)
                for place, row in zip(places, rows, strict=True)
                if not pending[place] and row.textless is not None
            ]
            if idle:
                at, states = zip(*idle, strict=True)
                hidden[list(at)] = torch.stack(states)
        return hidden

    def draw(self, engine: Engine, rows: Sequence[AlignedRow], hidden: Tensor) -> None:
        """See `Strategy`."""
        uniforms = torch.stack(
            [torch.rand(2, generator=row.generator, dtype=torch.float64) for row in rows]
        ).to(hidden.device)
        contexts = hidden.unflatten(0, (-1, self.num_contexts))  # (B, contexts, D)
        if "text" in self._left_out:
            for row, state in zip(rows, contexts[:, 1], strict=True):
                row.textless = state
        # A row is within a unit, and draws a code, or between units, and draws a duration.
        within = [n for n, row in enumerate(rows) if row.left]
        between = [n for n, row in enumerate(rows) if not row.left]
        drawn = [
            draw(engine, [rows[n] for n in chosen], contexts[chosen], uniforms[chosen])
            for draw, chosen in ((self._draw_codes, within), (self._draw_durations, between))
            if chosen
        ]
        # One copy to the host a step; float64 holds numbers and likelihoods as they are.
        values, gains = torch.cat(drawn, dim=1).tolist()
        for n, value, gain in zip([*within, *between], map(int, values), gains, strict=True):
            if rows[n].left:
                rows[n].add_code(self._codes.start + value, gain)
            else:
                count = rows[n].scaled(value)
                rows[n].begin_unit(count, self._durations.start + count)

    def _draw_durations(
        self, engine: Engine, rows: Sequence[AlignedRow], hidden: Tensor, uniforms: Tensor
    ) -> Tensor:
        """Numbers of codes and zeros, (2, B) float64."""
        logits = engine.logits(hidden[:, 0], (self._durations,))  # (B, 1 + MAX_DURATION)
        # Durations out of a row's bounds are ruled out.
        bounds = torch.tensor([row.bounds() for row in rows], device=logits.device)
        counted = torch.arange(logits.shape[1], device=logits.device)
        allowed = (bounds[:, :1] <= counted) & (counted <= bounds[:, 1:])
        logits = logits.masked_fill(~allowed, float("-inf"))
        counts = choose(logits, uniforms, self._duration_settings).double()
        return torch.stack([counts, torch.zeros_like(counts)])

    def _draw_codes(
        self, engine: Engine, rows: Sequence[AlignedRow], hidden: Tensor, uniforms: Tensor
    ) -> Tensor:
        """Codes and their log-likelihoods, (2, B) float64."""
        start, window = self._codes.start, self._settings.repetition_window
        logits = engine.logits(hidden.flatten(0, 1), (self._codes,))  # (B * contexts, codes)
        plain, guided = guided_logits(logits.unflatten(0, (-1, self.num_contexts)), self._settings)
        recent = None
        if window:
            recent = torch.tensor([row.recent(window, start) for row in rows]).to(hidden.device)
        codes = choose(guided, uniforms, self._settings, recent)
        gains = plain.log_softmax(dim=-1).gather(1, codes[:, None])[:, 0]
        return torch.stack([codes.double(), gains.double()])
