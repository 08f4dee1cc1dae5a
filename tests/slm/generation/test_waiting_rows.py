"""Rows that wait for a place in a batch."""

from __future__ import annotations

from dataclasses import replace

import pytest

import slm.engines.engine
from slm.model.speech_lm import SpeechLM
from tests.slm.generation.continued import GREEDY, WARM, continued, prompts_of, tokens_of

pytestmark = pytest.mark.usefixtures("engine")


@pytest.mark.parametrize("use_cache", [True, False])
def test_rows_that_wait_their_turn_say_what_they_say_alone(lm: SpeechLM, use_cache: bool) -> None:
    """Seven prompts through two places, in and out at different times, each with its own seed."""
    prompts = prompts_of(lm, (3, 17, 8, 5, 11, 2, 9))
    limits, seeds = [6, 20, 3, 1, 14, 9, 5], [9, 8, 7, 6, 5, 4, 3]
    settings = replace(WARM, use_cache=use_cache)
    queued = continued(
        lm, prompts, settings, max_new_tokens=limits, min_new_tokens=1, seeds=seeds, max_rows=2
    )
    for prompt, limit, seed, made in zip(prompts, limits, seeds, queued, strict=True):
        alone = continued(lm, [prompt], settings, max_new_tokens=limit, seeds=[seed])[0]
        assert made.tokens.tolist() == alone.tokens.tolist()
        assert made.log_likelihood == pytest.approx(alone.log_likelihood, abs=1e-3)
    with pytest.raises(ValueError, match="max_rows >= 1"):
        continued(lm, prompts, settings, max_new_tokens=3, max_rows=0)


def test_guided_rows_wait_their_turn_too(lm: SpeechLM) -> None:
    prompts = prompts_of(lm, (6, 17, 8, 5))
    without = [prompt[-2:] for prompt in prompts]
    strong, limits = replace(WARM, guidance=3.0), [4, 9, 7, 6]
    queued = continued(
        lm, prompts, strong, unguided=without, max_new_tokens=limits, seeds=range(4), max_rows=2
    )
    for index, (prompt, bare) in enumerate(zip(prompts, without, strict=True)):
        alone = continued(
            lm,
            [prompt],
            strong,
            unguided=[bare],
            max_new_tokens=limits[index],
            seeds=[index],
        )
        assert queued[index].tokens.tolist() == alone[0].tokens.tolist()


def test_a_free_place_is_taken_at_once(lm: SpeechLM, sizes: list[int]) -> None:
    """Two places, rows of 5, 3 and 4 codes: the third begins in the step after the second ends."""
    limits = [5, 3, 4]
    continued(lm, prompts_of(lm), GREEDY, max_new_tokens=limits, min_new_tokens=limits, max_rows=2)
    assert sizes == [2, 2, 1, 2, 1, 1]


def test_a_model_of_other_parts_lets_rows_wait_too(
    lm: SpeechLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = continued(lm, prompts_of(lm), GREEDY, max_new_tokens=[9, 2, 6])
    monkeypatch.setattr(slm.engines.engine, "fits", lambda lm: False)
    queued = continued(lm, prompts_of(lm), GREEDY, max_new_tokens=[9, 2, 6], max_rows=1)
    assert tokens_of(queued) == tokens_of(together)
