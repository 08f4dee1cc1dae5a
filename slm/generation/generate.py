"""Batched generation of speech codes: unequal prompts, one seed a row, no slot left empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from slm.model.speech_lm import SpeechLM

from .aligned import AlignedRequest, DurationsThenCodes
from .codes import CodesUntilEnd, TokenRequest
from .config import GenerationSettings
from .interleaved import InterleavedRequest, TurnsOfTextAndCodes
from .session import Generation, GenerationSession
from .stopping import StopRules

Request = TokenRequest | AlignedRequest | InterleavedRequest


def generate(
    lm: SpeechLM,
    requests: Sequence[Request],
    settings: GenerationSettings | None = None,
    *,
    rules: StopRules | None = None,
    max_rows: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[Generation]:
    """Generate the codes of each request; see `open_session`.

    Args:
        lm: See `open_session`, as for the others.
        requests: See there.
        settings: See there.
        rules: See there.
        max_rows: See there.
        on_progress: Called after every token with the number of requests that have ended by
            themselves.

    Returns:
        One `Generation` a request, in order.
    """
    if not requests and not lm.training:
        return []
    session = open_session(lm, requests, settings, rules=rules, max_rows=max_rows)
    while not session.done:
        session.step()
        if on_progress is not None:
            on_progress(session.num_ended)
    return session.results()


def open_session(
    lm: SpeechLM,
    requests: Sequence[Request],
    settings: GenerationSettings | None = None,
    *,
    rules: StopRules | None = None,
    max_rows: int | None = None,
) -> GenerationSession[Any]:
    """Open the session of requests of one kind.

    Args:
        lm: In eval mode.
        requests: One a row.
        settings: How tokens are drawn.
        rules: Ends rows that run away; None for nothing. Aligned rows always end by themselves.
        max_rows: Most rows at a time; the others wait for one to end and take its slot. None
            generates all at once.

    Raises:
        ValueError: The model is in training mode, or a request or a setting does not fit.
    """
    settings = settings or GenerationSettings()
    if requests and isinstance(requests[0], AlignedRequest):
        return GenerationSession(lm, DurationsThenCodes(lm, settings), requests, settings, max_rows)
    in_turns = requests and isinstance(requests[0], InterleavedRequest)
    strategy = (TurnsOfTextAndCodes if in_turns else CodesUntilEnd)(lm, settings, rules)
    return GenerationSession(lm, strategy, requests, settings, max_rows)
