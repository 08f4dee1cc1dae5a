"""Retries: speech that ran away is generated again with another seed, and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from slm.model.speech_lm import SpeechLM

from .config import GenerationSettings
from .generate import Request, generate
from .session import Generation
from .stopping import StopRules


def derived_seed(seed: int, attempt: int) -> int:
    """The seed of a later attempt: a pure function of both; attempt 0 is `seed`."""
    if attempt == 0:
        return seed
    # 56 bits fit every seed's range
    digest = hashlib.sha256(f"{seed}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def generate_until_ended(
    lm: SpeechLM,
    requests: Sequence[Request],
    settings: GenerationSettings | None = None,
    *,
    rules: StopRules | None = None,
    max_attempts: int = 3,
    max_rows: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Generation]:
    """Generate every request; those that ran away again, together, up to `max_attempts` times.

    Greedy speech (temperature 0) would come out the same, so it gets one attempt.

    Args:
        lm: In eval mode.
        requests: One a row.
        settings: How tokens are drawn.
        rules: Ends rows that run away.
        max_attempts: At least 1.
        max_rows: Most rows at a time; None for all at once.
        on_progress: Called with the number of requests that are done, as it grows.

    Returns:
        For each request the first generation that did not run away, else the likeliest a code.

    Raises:
        ValueError: As `generate`, or `max_attempts` below 1.
    """
    settings = settings or GenerationSettings()
    if max_attempts < 1:
        raise ValueError(f"expected max_attempts >= 1, got {max_attempts}")
    attempts: list[list[Generation]] = [[] for _ in requests]
    waiting = list(range(len(requests)))
    # Rows that ran away are generated again together, so that an attempt is one batch.
    for attempt in range(1 if settings.temperature == 0 else max_attempts):
        again = [
            replace(requests[index], seed=derived_seed(requests[index].seed, attempt))
            for index in waiting
        ]
        progress = None if on_progress is None else _after(on_progress, len(attempts) - len(again))
        made = generate(lm, again, settings, rules=rules, max_rows=max_rows, on_progress=progress)
        for index, request, generation in zip(waiting, again, made, strict=True):
            attempts[index].append(replace(generation, seed=request.seed, attempt=attempt))
        waiting = [index for index in waiting if attempts[index][-1].truncated]
        if not waiting:
            break
    if on_progress is not None:
        on_progress(len(attempts))
    return [_settled(each) for each in attempts]


def _after(on_progress: Callable[[int], None], done: int) -> Callable[[int], None]:
    """Progress of an attempt as that of all requests, `done` of which it leaves alone."""
    return lambda count: on_progress(done + count)


def _settled(attempts: Sequence[Generation]) -> Generation:
    """The last attempt, or where it ran away as all before it the likeliest of them."""
    rejected = tuple(each.stopped for each in attempts if each.truncated)
    kept = attempts[-1]  # the loop ends at the first that did not run away
    if kept.truncated:
        kept = max(attempts, key=_likelihood_per_code)
    return replace(kept, rejected=rejected)


def _likelihood_per_code(generation: Generation) -> float:
    # Loops and silence are likely a code, so an attempt that only met its limit precedes them.
    mean = generation.log_likelihood / max(1, len(generation.tokens))
    return mean if generation.stopped == "limit" else mean - 1e6
