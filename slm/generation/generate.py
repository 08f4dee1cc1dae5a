"""Batched generation of speech codes: unequal prompts, one seed a row, no slot left empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

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
    # A model in training mode is refused even where there is nothing to generate.
    if not requests and not lm.training:
        return []
    session = open_session(lm, requests, settings, rules=rules, max_rows=max_rows)
    while not session.done:
        session.step()
        if on_progress is not None:
            on_progress(session.num_ended)
    return session.results()


def generate_from(
    lm: SpeechLM,
    prompts: Any,
    settings: GenerationSettings | None = None,
    *,
    max_new_tokens: int = 256,
    seed: int = 0,
    **options: Any,
) -> list[Generation]:
    """Generate the codes that follow on rows of tokens, or those of requests; see `generate`.

    Args:
        lm: See `open_session`.
        prompts: Tokens (S,) of `Vocabulary`, a tensor, array or list; a list of such rows of any
            lengths, or (B, S); or requests, which say themselves how much they want.
        settings: See `open_session`.
        max_new_tokens: Most codes of a row of tokens.
        seed: Of the first row; the others' follow by one.
        options: `rules`, `max_rows` and `on_progress` of `generate`.

    Raises:
        ValueError: As `open_session`, or prompts that are no tokens.
    """
    rows = list(prompts) if isinstance(prompts, Sequence) else prompts
    if isinstance(rows, list) and rows and isinstance(rows[0], Request):
        return generate(lm, rows, settings, **options)
    # One row may be a list of numbers, or an array or tensor of one dimension.
    is_one = isinstance(rows, list) and all(isinstance(each, int) for each in rows)
    single = is_one or getattr(rows, "ndim", 2) == 1
    requests = []
    for number, row in enumerate([rows] if single else rows):
        tokens = torch.as_tensor(row)
        if tokens.ndim != 1 or not len(tokens) or tokens.is_floating_point():
            raise ValueError(
                f"expected tokens (S,) or rows of them, got {tokens.dtype} {tuple(tokens.shape)}"
            )
        size = lm.vocabulary.vocab_size
        if not 0 <= int(tokens.min()) <= int(tokens.max()) < size:
            raise ValueError(f"expected tokens in 0..{size - 1}, got {tokens.tolist()[:8]}")
        # On the host, whatever device they came from; reaching the count is not running away.
        requests.append(
            TokenRequest(tokens.long().cpu(), max_new_tokens, seed=seed + number, open_end=True)
        )
    return generate(lm, requests, settings, **options)


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
    # Requests of one session are of one kind, that of the first.
    if requests and isinstance(requests[0], AlignedRequest):
        return GenerationSession(lm, DurationsThenCodes(lm, settings), requests, settings, max_rows)
    in_turns = requests and isinstance(requests[0], InterleavedRequest)
    strategy = (TurnsOfTextAndCodes if in_turns else CodesUntilEnd)(lm, settings, rules)
    return GenerationSession(lm, strategy, requests, settings, max_rows)
