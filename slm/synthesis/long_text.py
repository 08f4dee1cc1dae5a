"""More than one utterance of a `Synthesizer`: the best of several, and texts of any length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from slm.generation.best_of import Ranking, Verifier, likelihood, rank
from slm.generation.retries import derived_seed
from slm.text.sentences import sentences

from .requests import Recording, SpeechRequest, check_seed
from .result import Synthesis
from .synthesizer import Synthesizer

PAUSE = 0.2  # seconds of silence between sentences
_SEED_STEP = 1000  # apart from the attempts of one request, which count by one


@dataclass(frozen=True)
class BestOf:
    """The best of several candidates, all of them, and their scores."""

    best: Synthesis
    candidates: list[Synthesis]
    ranking: Ranking


def speak_best(
    synthesizer: Synthesizer,
    text: str,
    count: int,
    verifiers: Mapping[str, Verifier] | None = None,
    *,
    prompt: Recording | None = None,
    prompt_text: str | None = None,
    voice: str | None = None,
    seed: int = 0,
    language: str = "en",
    speed: float = 1.0,
    **options: Any,
) -> BestOf:
    """Speak a text `count` times in one batch and rank the results.

    Args:
        synthesizer: Of the models.
        text: The text.
        count: Candidates.
        verifiers: By name, the most important first; the model's own likelihood when None.
        prompt: Recording of the voice.
        prompt_text: Its transcript, see `SpeechRequest`.
        voice: A named voice instead.
        seed: Every candidate's seed is derived from it; the first is the one `tts` would use.
        language: Of the text, see `SpeechRequest`.
        speed: See there.
        options: `settings`, `max_attempts` and `max_rows` of `Synthesizer.synthesize`.

    Raises:
        ValueError: As `Synthesizer.synthesize` and `rank`, or `count` below 1.
    """
    if count < 1:
        raise ValueError(f"expected at least one candidate, got {count}")
    if prompt is not None:
        prompt = synthesizer.waveform(prompt)
    request = SpeechRequest(text, prompt, prompt_text, voice, seed, language, speed)
    candidates = synthesizer.synthesize(_seeded([request] * count, seed), **options)
    ranking = rank(candidates, verifiers or {"likelihood": likelihood}, text, prompt)
    return BestOf(candidates[ranking.choice], candidates, ranking)


def speak_long(
    synthesizer: Synthesizer,
    text: str,
    *,
    prompt: Recording | None = None,
    voice: str | None = None,
    seed: int = 0,
    language: str = "en",
    speed: float = 1.0,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> list[Synthesis]:
    """Speak a text of any length sentence by sentence, in one voice.

    Without a prompt or a voice the first sentence's voice is kept for the rest.

    Args:
        synthesizer: Of the models.
        text: Any number of sentences.
        prompt: Recording of the voice.
        voice: A named voice instead.
        seed: Of the first sentence; the others' are derived from it.
        language: Of the text, see `SpeechRequest`.
        speed: See there.
        on_progress: Called, at least once a token, with the number of sentences whose codes are
            drawn and that of all.
        options: `settings`, `max_attempts` and `max_rows` of `Synthesizer.synthesize`.

    Returns:
        One result a sentence, in order; see `join`.
    """
    requests = sentence_requests(synthesizer, text, prompt, voice, seed, language, speed)

    def speak(waiting: Sequence[SpeechRequest], done: int = 0) -> list[Synthesis]:
        if on_progress is None:
            return synthesizer.synthesize(waiting, **options)
        notify = partial(_notify, on_progress, done, len(requests))
        return synthesizer.synthesize(waiting, on_progress=notify, **options)

    if prompt is not None or voice is not None:
        return speak(requests)
    # The codes of the first sentence are the voice of the others.
    first = speak(requests[:1])
    rest = [replace(request, voice=first[0].codes) for request in requests[1:]]
    return first + speak(rest, 1)


def sentence_requests(
    synthesizer: Synthesizer,
    text: str,
    prompt: Recording | None = None,
    voice: str | None = None,
    seed: int = 0,
    language: str = "en",
    speed: float = 1.0,
) -> list[SpeechRequest]:
    """Split a text into requests of a sentence each; arguments as of `speak_long`.

    Raises:
        ValueError: The text has no word.
    """
    # Split as it is spoken: no full stops of abbreviations, numbers as long as their words.
    spoken = synthesizer.tokenizer.spoken(text, language)
    if not any(each.isalnum() or each in "&%" for each in spoken):
        # In the words of the text that was given: of an emoji nothing is left to speak.
        raise ValueError(f"expected text with at least one word, got {text!r:.80}")
    parts = sentences(spoken)
    common = {"language": language, "speed": speed}
    requests = [SpeechRequest(each, prompt, None, voice, **common) for each in parts]
    check_seed(seed)
    return _seeded(requests, seed)


def join(parts: Sequence[Synthesis], pause: float = PAUSE, seed: int | None = None) -> Synthesis:
    """Several results as one waveform, with so many seconds of silence between them.

    The codes are those of the parts end to end; the pauses have none. The seed is the one given,
    which `speak_long` was asked for; without it the first part's, which may be of a later attempt.

    Raises:
        ValueError: There is no part.
    """
    if not parts:
        raise ValueError("expected at least one result to join, got none")
    seed = parts[0].seed if seed is None else seed
    if len(parts) == 1:
        return replace(parts[0], seed=seed)
    # A gap before every part, then the first gap left out.
    gap = np.zeros(round(pause * parts[0].sample_rate), dtype=np.float32)
    return replace(
        parts[0],
        waveform=np.concatenate([piece for part in parts for piece in (gap, part.waveform)][1:]),
        codes=np.concatenate([part.codes for part in parts]),
        truncated=any(part.truncated for part in parts),
        seed=seed,
        attempt=max(part.attempt for part in parts),
        log_likelihood=sum(part.log_likelihood for part in parts),
        stopped=next((part.stopped for part in parts if part.truncated), "end"),
        counts=tuple(count for part in parts for count in part.counts),
        rejected=tuple(reason for part in parts for reason in part.rejected),
    )


def _notify(on_progress: Callable[[int, int], None], before: int, total: int, count: int) -> None:
    """Report `count` sentences of a call, after those of the calls before it."""
    on_progress(before + count, total)


def _seeded(requests: Sequence[SpeechRequest], seed: int) -> list[SpeechRequest]:
    """The requests with seeds derived from one, the first with the seed itself."""
    return [
        replace(request, seed=derived_seed(seed, _SEED_STEP * index))
        for index, request in enumerate(requests)
    ]
