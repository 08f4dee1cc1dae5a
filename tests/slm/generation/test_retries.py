from typing import Any

import pytest
import torch

import slm.generation.retries
from slm.generation.config import GenerationSettings
from slm.generation.generate import Generation
from slm.generation.retries import Request, derived_seed, generate_until_ended
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

    monkeypatch.setattr(slm.generation.retries, "generate", scripted)
    requests = [Request(torch.tensor([1]), 1, 5, seed) for seed in (10, 20, 30)]
    first, second, third = generate_until_ended(lm, requests, max_attempts=3)
    assert [len(batch) for batch in batches] == [3, 2, 1]
    assert (first.seed, first.reasons) == (10, ())
    assert (second.seed, second.reasons) == (derived_seed(20, 1), ("limit",))
    assert (second.attempt, second.ran_away) == (1, False)
    assert third.reasons == ("limit", "loop", "limit")
    assert third.seed == 30  # the likeliest of those that did not loop
    assert (third.attempt, third.ran_away) == (0, True)
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


def test_the_length_that_was_asked_for_is_no_fault_but_a_loop_is(
    lm: SpeechLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = iter(["loop", "limit"])

    def scripted(*rest: Any, **options: Any) -> list:
        stopped = next(tries)
        return [Generation(torch.tensor([70]), True, -1.0, stopped)]

    monkeypatch.setattr(slm.generation.retries, "generate", scripted)
    request = Request(torch.tensor([1]), 1, 5, 3, open_end=True)
    made = generate_until_ended(lm, [request])[0]
    assert (made.reasons, made.attempt, made.ran_away) == (("loop",), 1, False)
    assert made.generation.stopped == "limit"


def test_the_seed_of_speech_that_always_ran_away_gives_it_again_in_one_attempt(
    lm: SpeechLM,
) -> None:
    """More attempts would draw it anew."""
    settings = GenerationSettings(temperature=1.0)
    request = Request(torch.tensor([1, 5]), 12, 12, 3)
    made = generate_until_ended(lm, [request], settings)[0]
    assert made.ran_away
    assert len(made.reasons) == 3
    same = Request(request.prompt, 12, 12, made.seed)
    once = generate_until_ended(lm, [same], settings, max_attempts=1)[0]
    assert once.generation.tokens.tolist() == made.generation.tokens.tolist()


def test_no_more_rows_are_spoken_at_a_time_than_allowed(lm: SpeechLM) -> None:
    greedy = GenerationSettings(temperature=0)
    requests = [Request(torch.tensor([1, 5 + n]), 1, 8 + n, n) for n in range(5)]
    together = generate_until_ended(lm, requests, greedy)
    few = generate_until_ended(lm, requests, greedy, max_rows=2)
    for one, other in zip(together, few, strict=True):
        assert one.generation.tokens.tolist() == other.generation.tokens.tolist()
