"""Speech that ran away is made again with another seed, and counted."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from slm.model.speech_lm import SpeechLM

from .config import GenerationSettings
from .generate import Generation, generate
from .stopping import StopRules


@dataclass(frozen=True)
class Request:
    """What one row of speech starts from and may be.

    Attributes:
        prompt: (S,) int64 tokens.
        fewest: Codes before it may end.
        most: Codes at which it is cut.
        seed: Draws them.
        unguided: The prompt without its text, for guidance; None without.
        open_end: Whether `most` is the length that was asked for, so that to reach it is no fault.
    """

    prompt: Tensor
    fewest: int
    most: int
    seed: int
    unguided: Tensor | None = None
    open_end: bool = False

    def ran_away(self, generation: Generation) -> bool:
        """Whether speech was cut that should have ended by itself."""
        return generation.truncated and not (self.open_end and generation.stopped == "limit")


@dataclass(frozen=True)
class Attempts:
    """What came of a request after as many tries as it took.

    Attributes:
        generation: The first that did not run away, else the likeliest a code of all tries.
        seed: The seed it was drawn with.
        reasons: Why each earlier or failed try was given up: "limit", "silence" or "loop".
        attempt: Which of the tries it is, from 0.
        ran_away: Whether even it did.
    """

    generation: Generation
    seed: int
    reasons: tuple[str, ...] = ()
    attempt: int = 0
    ran_away: bool = False


def derived_seed(seed: int, attempt: int) -> int:
    """The seed of a later attempt: a pure function of both; attempt 0 is `seed`."""
    if attempt == 0:
        return seed
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
) -> list[Attempts]:
    """Generate every request; those that ran away again, together, up to `max_attempts` times.

    Greedy speech (temperature 0) would come out the same, so it gets one attempt.

    Args:
        lm: In eval mode.
        requests: One a row.
        settings: How tokens are drawn.
        rules: What else ends a row.
        max_attempts: At least 1.
        max_rows: Most rows spoken at a time; None for all at once.

    Raises:
        ValueError: As `generate`, or `max_attempts` below 1.
    """
    settings = settings or GenerationSettings()
    check_attempts(max_attempts)
    tries: list[list[tuple[int, Generation]]] = [[] for _ in requests]
    waiting = list(range(len(requests)))
    for attempt in range(1 if settings.temperature == 0 else max_attempts):
        seeds = [derived_seed(requests[index].seed, attempt) for index in waiting]
        chosen = [requests[index] for index in waiting]
        made = generate(
            lm,
            [request.prompt for request in chosen],
            settings,
            max_new_tokens=[request.most for request in chosen],
            min_new_tokens=[request.fewest for request in chosen],
            seeds=seeds,
            unguided=[r.unguided for r in chosen if r.unguided is not None],
            rules=rules,
            max_rows=max_rows,
        )
        for index, seed, generation in zip(waiting, seeds, made, strict=True):
            tries[index].append((seed, generation))
        waiting = [index for index in waiting if requests[index].ran_away(tries[index][-1][1])]
        if not waiting:
            break
    return [_settled(request, each) for request, each in zip(requests, tries, strict=True)]


def check_attempts(max_attempts: int) -> None:
    """Raise `ValueError` below one attempt."""
    if max_attempts < 1:
        raise ValueError(f"expected max_attempts >= 1, got {max_attempts}")


def _settled(request: Request, tries: Sequence[tuple[int, Generation]]) -> Attempts:
    reasons = tuple(made.stopped for _, made in tries if request.ran_away(made))
    ran_away, attempt = len(reasons) == len(tries), len(tries) - 1
    if ran_away:
        attempt = max(range(len(tries)), key=lambda index: _per_code(tries[index][1]))
    seed, generation = tries[attempt]
    return Attempts(generation, seed, reasons, attempt, ran_away)


def _per_code(generation: Generation) -> float:
    # Loops and silence are likely a code, so a try that only met its limit goes before them.
    mean = generation.log_likelihood / max(1, len(generation.tokens))
    return mean if generation.stopped == "limit" else mean - 1e6
