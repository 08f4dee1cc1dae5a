"""Recognition: codes in, text out, by beam search or draws, in batches.

The layout is that of transcriptions (`slm.data.documents.build_transcription`). A recording is
read once; its hypotheses are rows of the engine that differ in their text alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from codec.checks import count
from slm.data.documents import transcription_prefix
from slm.engines.engine import open_engine
from slm.engines.merged_weights import Outputs
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM

from .config import TranscriptionSettings
from .sampling import draw

# Recordings whose text is searched together where nothing else is asked for.
MAX_ROWS = 16
# Text tokens a second of speech, where the call names no maximum: nobody speaks more letters.
_TOKENS_PER_SECOND, _FEWEST = 25, 16


@dataclass(frozen=True)
class Transcript:
    """The text of one recording.

    Attributes:
        text_ids: Ids of the text tokenizer, the end left out.
        log_likelihood: Of them and of the end, where it was reached, among all text; nats, summed.
        truncated: Whether the text was cut at its maximum.
    """

    text_ids: tuple[int, ...]
    log_likelihood: float
    truncated: bool

    @property
    def log_likelihood_per_token(self) -> float:
        """Mean over the tokens, the end included; nats."""
        return self.log_likelihood / max(1, len(self.text_ids) + (not self.truncated))


class _Hypothesis(NamedTuple):
    """Text so far, or to its end.

    Attributes:
        score: What hypotheses are compared by, see `TranscriptionSettings.length_power`.
        log_likelihood: Nats.
        text_ids: Ids of the text tokenizer.
    """

    score: float
    log_likelihood: float
    text_ids: tuple[int, ...]


@dataclass
class _Search:
    """The search for the text of one recording.

    Attributes:
        prompt: (S,) int64, what is read first.
        most: Text tokens at which it is cut.
        uniforms: (most,) float64 in [0, 1), one a token that is drawn.
        live: Hypotheses that go on, each a row of the engine, the best first.
        ended: The best one that has ended; None until there is one.
        steps: Tokens of every live hypothesis.
        done: Whether it is over.
    """

    prompt: Tensor
    most: int
    uniforms: Tensor
    live: list[_Hypothesis] = field(default_factory=lambda: [_Hypothesis(0.0, 0.0, ())])
    ended: _Hypothesis | None = None
    steps: int = 0
    done: bool = False

    def advance(
        self,
        columns: Sequence[Sequence[int]],
        gains: Sequence[Sequence[float]],
        settings: TranscriptionSettings,
    ) -> list[int]:
        """Take the best continuations of the live hypotheses.

        Args:
            columns: Of each hypothesis its candidates, 0 for the end, 1 + id for text.
            gains: Their log-likelihoods, nats.
            settings: Of the search.

        Returns:
            The number of the hypothesis that each new one continues; [] when the search is over.
        """
        # 1. Order all candidates; ties by row and column, so that nothing depends on the batch.
        found = sorted(
            (-(held.log_likelihood + gain), row, column)
            for row, held in enumerate(self.live)
            for column, gain in zip(columns[row], gains[row], strict=True)
        )
        # 2. The best go on. An end counts among the first `beam` of all alone.
        self.steps += 1
        parents, live = [], []
        for rank, (cost, row, column) in enumerate(found):
            score, text_ids = -cost / self.steps**settings.length_power, self.live[row].text_ids
            if column and len(live) < settings.beam:
                parents.append(row)
                live.append(_Hypothesis(score, -cost, (*text_ids, column - 1)))
            elif not column and rank < settings.beam:
                ending = _Hypothesis(score, -cost, text_ids)
                self.ended = max(self.ended or ending, ending, key=lambda each: each.score)
        # 3. Over at the maximum, or when none that goes on is better than one that has ended.
        best = self.ended.score if self.ended is not None else -math.inf
        self.live, self.done = live, self.steps >= self.most or not live or best >= live[0].score
        return [] if self.done else parents

    def result(self) -> Transcript:
        """The best text that has ended, else the best that was cut."""
        best = self.ended or self.live[0]
        return Transcript(best.text_ids, best.log_likelihood, self.ended is None)


@torch.no_grad()
def transcribe_codes(
    lm: SpeechLM,
    recordings: Sequence[np.ndarray],
    settings: TranscriptionSettings | None = None,
    *,
    seeds: Sequence[int] | None = None,
    max_rows: int = MAX_ROWS,
    on_progress: Callable[[int], None] | None = None,
) -> list[Transcript]:
    """Find the text of the codes of recordings.

    A text depends on its recording and seed, not on its batch mates: to the token where nothing
    is drawn, else up to float rounding.

    Args:
        lm: In eval mode, trained on transcriptions.
        recordings: (L,) integer codes each, L >= 1.
        settings: Of the search.
        seeds: Of the draws, one a recording; 0, 1, 2 ... when None.
        max_rows: Most recordings at a time; the others wait, which bounds the memory.
        on_progress: Called after each step with the number of recordings that are done.

    Returns:
        One transcript a recording, in order.

    Raises:
        ValueError: A model that was not trained to transcribe or is in training mode, codes that
            are not its vocabulary's or leave its context no room, or a count below 1.
    """
    settings = settings or TranscriptionSettings()
    count("max_rows", max_rows, 1)
    check_transcribes(lm.config)
    if lm.training:
        raise ValueError("expected a model in eval mode, got one in training mode: call lm.eval()")
    if not recordings:
        return []
    numbers = range(len(recordings)) if seeds is None else seeds
    searches = [
        _opened(lm, codes, seed, settings) for codes, seed in zip(recordings, numbers, strict=True)
    ]
    queue, active = searches[::-1], list[_Search]()
    slots = min(len(searches), max_rows)
    engine = open_engine(
        lm,
        slots * settings.beam,
        max(len(each.prompt) + each.most for each in searches),
        engine=settings.engine,
        weights=settings.weights,
        use_cache=settings.use_cache,
    )
    outputs, device = text_outputs(lm), lm.head.weight.device
    while active or queue:
        # 1. Read what each hypothesis took last, and the codes of recordings that join.
        hidden, first_text = [], lm.vocabulary.text_start
        if active:
            last = [held.text_ids[-1] + first_text for each in active for held in each.live]
            hidden.append(engine.decode(torch.tensor(last, device=device)))
        free = min(len(queue), slots - len(active))
        if free:
            joining = [queue.pop() for _ in range(free)]
            hidden.append(engine.prefill([each.prompt for each in joining]))
            active += joining
        # 2. Candidates of every hypothesis, one copy to the host a step.
        logits = engine.logits(torch.cat(hidden), outputs)  # (B, 1 + text), 0 for the end
        columns, gains = _candidates(logits, active, settings)
        # 3. Choose among them, and let the engine follow.
        rows, first = list[int](), 0
        for each in active:
            part = slice(first, first + len(each.live))
            rows += [
                first + parent for parent in each.advance(columns[part], gains[part], settings)
            ]
            first = part.stop
        if rows != list(range(first)):
            engine.select(rows)
        active = [each for each in active if not each.done]
        if on_progress is not None:
            on_progress(len(searches) - len(active) - len(queue))
    return [each.result() for each in searches]


def text_outputs(lm: SpeechLM) -> Outputs:
    """The end token, then every text token: what a transcript consists of."""
    vocabulary = lm.vocabulary
    end = vocabulary.eos_id
    return range(end, end + 1), range(vocabulary.text_start, vocabulary.code_start)


def _candidates(
    logits: Tensor, active: Sequence[_Search], settings: TranscriptionSettings
) -> tuple[list[list[int]], list[list[float]]]:
    """Columns and log-likelihoods of the candidates of every hypothesis, the likeliest first."""
    likelihoods = logits.log_softmax(dim=-1)
    if settings.temperature:
        uniforms = torch.stack([each.uniforms[each.steps] for each in active])
        columns = draw(logits / settings.temperature, uniforms.to(logits.device))[:, None]
        gains = likelihoods.gather(1, columns)
    else:
        # One more than the beam, as one of them may be the end; the likeliest alone without one.
        most = min(settings.beam + (settings.beam > 1), logits.shape[1])
        gains, columns = likelihoods.topk(most, dim=-1)
    # float64 holds both as they are.
    both = torch.stack([columns.double(), gains.double()]).tolist()
    return [list(map(int, row)) for row in both[0]], both[1]


def _opened(lm: SpeechLM, codes: np.ndarray, seed: int, settings: TranscriptionSettings) -> _Search:
    """Check a recording and begin its search."""
    codes, longest = np.asarray(codes), most_codes(lm.config)
    if codes.ndim != 1 or not 1 <= len(codes) <= longest:
        raise ValueError(f"expected codes (L,), L in [1, {longest}], got shape {codes.shape}")
    prompt = torch.from_numpy(transcription_prefix(lm.vocabulary, codes))
    usual = max(_FEWEST, math.ceil(len(codes) / lm.config.frame_rate * _TOKENS_PER_SECOND))
    room = lm.config.max_seq_len - len(prompt)
    most = min(room, usual if settings.max_text_tokens is None else settings.max_text_tokens)
    generator = torch.Generator().manual_seed(seed)
    return _Search(prompt, most, torch.rand(most, generator=generator, dtype=torch.float64))


def most_codes(config: SpeechLMConfig) -> int:
    """The longest recording that a model's context has room for, with a text token."""
    return config.max_seq_len - 4


def check_transcribes(config: SpeechLMConfig) -> None:
    """Raise `ValueError` for a model that was not trained to transcribe."""
    if not config.transcribes:
        raise ValueError(
            "expected a model that was trained to transcribe, got one with transcribes false; "
            "train with train_slm.documents.transcribe_probability above 0"
        )
