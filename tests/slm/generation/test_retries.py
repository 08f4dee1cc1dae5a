from dataclasses import replace
from typing import Any

import pytest
import torch

import slm.generation.retries
from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest
from slm.generation.retries import derived_seed, generate_until_ended
from slm.generation.session import Generation
from slm.model.speech_lm import SpeechLM


def test_seeds_of_later_attempts_are_fixed_and_apart() -> None:
    seeds = {derived_seed(seed, attempt) for seed in range(20) for attempt in range(5)}
    assert len(seeds) == 100
    assert derived_seed(7, 0) == 7
    assert derived_seed(7, 1) == derived_seed(7, 1)


def test_only_runaway_rows_are_drawn_anew_and_every_reason_is_kept(
    lm: SpeechLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[int]] = []

    def scripted(lm: SpeechLM, requests: list[TokenRequest], *rest: Any, **options: Any) -> list:
        seeds = [request.seed for request in requests]
        batches.append(seeds)
        number = len(batches)

        def made(seed: int) -> Generation:
            if seed == 10:
                return Generation(torch.tensor([70]), False, -1.0, "end")
            loops = seed == derived_seed(30, 1)
            stopped = "end" if seed == derived_seed(20, 1) else "loop" if loops else "limit"
            return Generation(torch.tensor([70]), stopped != "end", -float(number), stopped)

        return [made(seed) for seed in seeds]

    monkeypatch.setattr(slm.generation.retries, "generate", scripted)
    requests = [TokenRequest(torch.tensor([1]), 5, 1, seed) for seed in (10, 20, 30)]
    first, second, third = generate_until_ended(lm, requests, max_attempts=3)
    assert [len(batch) for batch in batches] == [3, 2, 1]
    assert (first.seed, first.rejected) == (10, ())
    assert (second.seed, second.rejected) == (derived_seed(20, 1), ("limit",))
    assert (second.attempt, second.truncated) == (1, False)
    assert third.rejected == ("limit", "loop", "limit")
    assert third.seed == 30  # the likeliest of those that did not loop
    assert (third.attempt, third.truncated) == (0, True)
    batches.clear()
    generate_until_ended(lm, requests, GenerationSettings(temperature=0), max_attempts=3)
    assert len(batches) == 1
    with pytest.raises(ValueError, match="max_attempts >= 1"):
        generate_until_ended(lm, requests, max_attempts=0)


def test_the_seed_that_is_reported_gives_the_same_speech_again(lm: SpeechLM) -> None:
    settings = GenerationSettings(temperature=1.0)
    request = TokenRequest(torch.tensor([1, 5]), 20, 1, 3)
    made = generate_until_ended(lm, [request], settings)[0]
    again = generate_until_ended(lm, [replace(request, seed=made.seed)], settings, max_attempts=1)[
        0
    ]
    assert again.tokens.tolist() == made.tokens.tolist()


def test_the_length_that_was_asked_for_is_no_fault_but_a_loop_is(
    lm: SpeechLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = iter(["loop", "limit"])

    def scripted(*rest: Any, **options: Any) -> list:
        stopped = next(tries)
        return [Generation(torch.tensor([70]), stopped == "loop", -1.0, stopped)]

    monkeypatch.setattr(slm.generation.retries, "generate", scripted)
    request = TokenRequest(torch.tensor([1]), 5, 1, 3, open_end=True)
    made = generate_until_ended(lm, [request])[0]
    assert (made.rejected, made.attempt, made.truncated) == (("loop",), 1, False)
    assert made.stopped == "limit"


def test_the_seed_of_speech_that_always_ran_away_gives_it_again_in_one_attempt(
    lm: SpeechLM,
) -> None:
    """More attempts would draw it anew."""
    settings = GenerationSettings(temperature=1.0)
    request = TokenRequest(torch.tensor([1, 5]), 12, 12, 3)
    made = generate_until_ended(lm, [request], settings)[0]
    assert made.truncated
    assert len(made.rejected) == 3
    same = replace(request, seed=made.seed)
    once = generate_until_ended(lm, [same], settings, max_attempts=1)[0]
    assert once.tokens.tolist() == made.tokens.tolist()


def test_no_more_rows_are_spoken_at_a_time_than_allowed(lm: SpeechLM) -> None:
    greedy = GenerationSettings(temperature=0)
    requests = [TokenRequest(torch.tensor([1, 5 + n]), 8 + n, 1, n) for n in range(5)]
    together = generate_until_ended(lm, requests, greedy)
    few = generate_until_ended(lm, requests, greedy, max_rows=2)
    for one, other in zip(together, few, strict=True):
        assert one.tokens.tolist() == other.tokens.tolist()
