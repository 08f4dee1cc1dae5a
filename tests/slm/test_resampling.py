from typing import Any

import pytest
import torch

import slm.resampling
from slm.config import GenerationSettings
from slm.generation import Generation
from slm.model import SpeechLM
from slm.resampling import Request, derived_seed, generate_until_ended


def test_seeds_of_later_attempts_are_fixed_and_apart() -> None:
    seeds = {derived_seed(seed, attempt) for seed in range(20) for attempt in range(5)}
    assert len(seeds) == 100
    assert derived_seed(7, 0) == 7
    assert derived_seed(7, 1) == derived_seed(7, 1)


def test_only_runaway_rows_are_drawn_anew_and_every_reason_is_kept(
    lm: SpeechLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []

    def scripted(lm: SpeechLM, prompts: list, *rest: Any, seeds: list[int], **options: Any) -> list:
        batches.append(seeds)
        number = len(batches)

        def made(seed: int) -> Generation:
            if seed == 10:
                return Generation(torch.tensor([70]), False, -1.0, "end")
            loops = seed == derived_seed(30, 1)
            stopped = "end" if seed == derived_seed(20, 1) else "loop" if loops else "limit"
            return Generation(torch.tensor([70]), stopped != "end", -float(number), stopped)

        return [made(seed) for seed in seeds]

    monkeypatch.setattr(slm.resampling, "generate", scripted)
    requests = [Request(torch.tensor([1]), 1, 5, seed) for seed in (10, 20, 30)]
    first, second, third = generate_until_ended(lm, requests, max_attempts=3)
    assert [len(batch) for batch in batches] == [3, 2, 1]
    assert (first.seed, first.reasons) == (10, ())
    assert (second.seed, second.reasons) == (derived_seed(20, 1), ("limit",))
    assert third.reasons == ("limit", "loop", "limit")
    assert third.seed == 30  # the likeliest of those that did not loop
    batches.clear()
    generate_until_ended(lm, requests, GenerationSettings(temperature=0), max_attempts=3)
    assert len(batches) == 1
    with pytest.raises(ValueError, match="max_attempts >= 1"):
        generate_until_ended(lm, requests, max_attempts=0)


def test_the_seed_that_is_reported_gives_the_same_speech_again(lm: SpeechLM) -> None:
    settings = GenerationSettings(temperature=1.0)
    request = Request(torch.tensor([1, 5]), 1, 20, 3)
    made = generate_until_ended(lm, [request], settings)[0]
    again = generate_until_ended(
        lm, [Request(request.prompt, 1, 20, made.seed)], settings, max_attempts=1
    )[0]
    assert again.generation.tokens.tolist() == made.generation.tokens.tolist()
