"""Generations of random prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.generation.session import Generation
from slm.model.speech_lm import SpeechLM

GREEDY = GenerationSettings(temperature=0)
WARM = GenerationSettings(temperature=1.0, top_p=1.0)


def continued(
    lm: SpeechLM,
    prompts: Sequence[torch.Tensor],
    settings: GenerationSettings | None = None,
    *,
    max_new_tokens: int | Sequence[int],
    min_new_tokens: int | Sequence[int] = 1,
    seeds: Sequence[int] | None = None,
    unguided: Sequence[torch.Tensor | None] | None = None,
    **options: Any,
) -> list[Generation]:
    """Generations of prompts; numbers for all of them or for each."""
    count = len(prompts)
    most, least = (
        [value] * count if isinstance(value, int) else value
        for value in (max_new_tokens, min_new_tokens)
    )
    columns = (prompts, most, least, seeds or range(count), unguided or [None] * count)
    requests = [TokenRequest(*row) for row in zip(*columns, strict=True)]
    return generate(lm, requests, settings, **options)


def prompts_of(lm: SpeechLM, lengths: tuple[int, ...] = (3, 17, 8)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    size = lm.vocabulary.vocab_size
    return [torch.randint(6, size, (length,), generator=generator) for length in lengths]


def tokens_of(results: list[Generation]) -> list[list[int]]:
    return [result.tokens.tolist() for result in results]
