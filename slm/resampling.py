"""Speech that ran away is made again with another seed, and counted."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .config import GenerationSettings
from .generation import Generation, generate
from .model import SpeechLM
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
    """

    prompt: Tensor
    fewest: int
    most: int
    seed: int
    unguided: Tensor | None = None


@dataclass(frozen=True)
class Attempts:
    """What came of a request after as many tries as it took.

    Attributes:
        generation: The first that ended by itself, else the likeliest a code of all tries.
        seed: The seed it was drawn with.
        reasons: Why each earlier or failed try was given up: "limit", "silence" or "loop".
    """

    generation: Generation
    seed: int
    reasons: tuple[str, ...]


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
) -> list[Attempts]:
    """Generate every request; those that ran away again, together, up to `max_attempts` times.

    Greedy speech (temperature 0) would come out the same, so it gets one attempt.

    Args:
        lm: In eval mode.
        requests: One a row.
        settings: How tokens are drawn.
        rules: What else ends a row.
        max_attempts: At least 1.

    Raises:
        ValueError: As `generate`, or `max_attempts` below 1.
    """
    settings = settings or GenerationSettings()
    if max_attempts < 1:
        raise ValueError(f"expected max_attempts >= 1, got {max_attempts}")
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
        )
        for index, seed, generation in zip(waiting, seeds, made, strict=True):
            tries[index].append((seed, generation))
        waiting = [index for index in waiting if tries[index][-1][1].truncated]
        if not waiting:
            break
    return [_settled(each) for each in tries]


def _settled(tries: Sequence[tuple[int, Generation]]) -> Attempts:
    reasons = tuple(generation.stopped for _, generation in tries if generation.truncated)
    seed, generation = tries[-1]
    if generation.truncated:
        seed, generation = max(tries, key=lambda each: _per_code(each[1]))
    return Attempts(generation, seed, reasons)


def _per_code(generation: Generation) -> float:
    # Loops and silence are likely a code, so a try that only met its limit goes before them.
    mean = generation.log_likelihood / max(1, len(generation.tokens))
    return mean if generation.stopped == "limit" else mean - 1e6
