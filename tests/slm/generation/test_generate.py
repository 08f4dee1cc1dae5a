"""Generation of codes: caches, batches, ends, guidance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

import slm.engines.engine
from slm.engines.merged import MergedDecoder
from slm.engines.merged_weights import Outputs
from slm.engines.native import NativeDecoder
from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.generation.session import Generation
from slm.generation.stopping import StopRules
from slm.model.speech_lm import SpeechLM
from tests.slm.generation.continued import GREEDY, WARM, continued, prompts_of, tokens_of

pytestmark = pytest.mark.usefixtures("engine")


def smallest_margin(lm: SpeechLM, prompt: torch.Tensor, made: Generation) -> float:
    """By how much the likeliest token leads at the least certain step of a greedy generation."""
    sequence = torch.cat([prompt, made.tokens])
    with torch.no_grad():
        logits = lm(sequence[None])[0, len(prompt) - 1 :]
    end = logits[:, lm.vocabulary.eos_id].clone()
    end[0] = -torch.inf  # speech has at least one code
    logits = torch.cat([logits[:, lm.vocabulary.code_start :], end[:, None]], dim=1)
    if made.truncated:
        logits = logits[:-1]  # nobody asked what comes next
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return float((first - second).min())


def decisive_lm(
    make_lm: Callable[..., SpeechLM], kv_heads: int, limits: Sequence[int], seed: int
) -> tuple[SpeechLM, list[Generation]]:
    """The first random model, from `seed` on, without near-ties, and what it says uncached.

    Cached and whole passes add up in another order, so their logits differ by about 2e-6. Random
    weights are not the same on every machine and may put two codes as close as that; which of
    them greedy search then takes says nothing about the cache.
    """
    settings = GenerationSettings(temperature=0, use_cache=False)
    for candidate in range(seed, seed + 50):
        lm = make_lm(seed=candidate, num_kv_heads=kv_heads)
        rows = list(zip(prompts_of(lm), limits, strict=True))
        alone = [continued(lm, [row], settings, max_new_tokens=limit)[0] for row, limit in rows]
        margins = [smallest_margin(lm, row[0], made) for row, made in zip(rows, alone, strict=True)]
        openings = {tuple(made.tokens[:5].tolist()) for made in alone}
        if min(margins) > 1e-3 and len(openings) == len(alone):
            return lm, alone
    raise AssertionError(f"no decisive model among 50 from seed {seed} on")


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_cached_batched_unequal_prompts_equal_uncached_single_ones(
    make_lm: Callable[..., SpeechLM], kv_heads: int
) -> None:
    limits = (40, 12, 25)  # the middle row leaves the batch first, then the last one
    lm, alone = decisive_lm(make_lm, kv_heads, limits, seed=0)
    uncached = GenerationSettings(temperature=0, use_cache=False)
    together = continued(lm, prompts_of(lm), GREEDY, max_new_tokens=limits)
    assert tokens_of(together) == tokens_of(alone)
    whole = continued(lm, prompts_of(lm), uncached, max_new_tokens=limits)
    assert tokens_of(whole) == tokens_of(alone)
    for row, single in zip(together, alone, strict=True):
        assert row.log_likelihood == pytest.approx(single.log_likelihood, abs=1e-3)


def test_greedy_takes_the_likeliest_code_of_the_whole_forward(lm: SpeechLM) -> None:
    prompt = prompts_of(lm)[0]
    result = continued(lm, [prompt], GREEDY, max_new_tokens=5, min_new_tokens=5)[0]
    sequence = torch.cat([prompt, result.tokens])
    logits = lm(sequence[None])[0, len(prompt) - 1 : -1]
    start = lm.vocabulary.code_start
    assert (logits[:, start:].argmax(dim=-1) + start).tolist() == result.tokens.tolist()


def test_a_rows_speech_depends_on_its_seed_not_on_its_mates(lm: SpeechLM) -> None:
    prompts = prompts_of(lm)
    together = continued(lm, prompts, WARM, max_new_tokens=25, seeds=[7, 8, 9])
    alone = continued(lm, [prompts[1]], WARM, max_new_tokens=25, seeds=[8])
    other = continued(lm, [prompts[1]], WARM, max_new_tokens=25, seeds=[10])
    assert tokens_of(together)[1] == tokens_of(alone)[0]
    assert tokens_of(other) != tokens_of(alone)


def test_only_codes_come_out(lm: SpeechLM) -> None:
    for tokens in tokens_of(continued(lm, prompts_of(lm), WARM, max_new_tokens=60)):
        assert all(token >= lm.vocabulary.code_start for token in tokens)


@contextmanager
def end_logit(value: float) -> Iterator[None]:
    """Inside the block the end token has this logit, whatever the model says."""
    with pytest.MonkeyPatch.context() as patch:
        for decoder in (MergedDecoder, NativeDecoder):
            logits = decoder.logits

            def changed(
                self: Any, hidden: torch.Tensor, outputs: Outputs, logits: Any = logits
            ) -> torch.Tensor:
                return logits(self, hidden, outputs).index_fill(-1, torch.tensor([0]), value)

            patch.setattr(decoder, "logits", changed)
        yield


def test_the_end_waits_for_the_minimum_and_stops_each_row(lm: SpeechLM) -> None:
    with end_logit(1e4):
        results = continued(lm, prompts_of(lm), WARM, max_new_tokens=30, min_new_tokens=[0, 4, 9])
    assert [len(result.tokens) for result in results] == [0, 4, 9]
    assert not any(result.truncated for result in results)


def test_speech_that_does_not_end_is_cut_and_reported(lm: SpeechLM) -> None:
    with end_logit(-1e4):
        results = continued(lm, prompts_of(lm), WARM, max_new_tokens=[3, 999, 5])
    room = lm.config.max_seq_len - 17
    assert [len(result.tokens) for result in results] == [3, room, 5]
    assert all(result.truncated for result in results)


def test_a_maximum_that_was_asked_for_cuts_nothing(lm: SpeechLM) -> None:
    request = TokenRequest(prompts_of(lm)[0], 4, open_end=True)
    with end_logit(-1e4):
        result = generate(lm, [request], WARM)[0]
    assert (len(result.tokens), result.stopped, result.truncated) == (4, "limit", False)


def test_an_end_inside_the_prompt_does_not_stop_generation(lm: SpeechLM) -> None:
    prompt = prompts_of(lm)[1]
    prompt[4] = prompt[-1] = lm.vocabulary.eos_id
    for use_cache in (True, False):
        settings = GenerationSettings(temperature=0, use_cache=use_cache)
        results = continued(lm, [prompt], settings, max_new_tokens=12, min_new_tokens=10)
        assert len(results[0].tokens) >= 10


def test_finished_rows_leave_the_batch(lm: SpeechLM, sizes: list[int]) -> None:
    continued(lm, prompts_of(lm), GREEDY, max_new_tokens=[2, 4, 6], min_new_tokens=[2, 4, 6])
    assert sizes == [3, 2, 2, 1, 1]


def test_a_decoder_of_other_parts_is_generated_from_all_the_same(
    lm: SpeechLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merged weights are refused for blocks they do not know; the model's own cache serves."""
    fused = continued(lm, prompts_of(lm), GREEDY, max_new_tokens=12)
    monkeypatch.setattr(slm.engines.engine, "fits", lambda lm: False)
    assert tokens_of(continued(lm, prompts_of(lm), GREEDY, max_new_tokens=12)) == tokens_of(fused)
    rounded = GenerationSettings(weights="int8")
    with pytest.raises(ValueError, match="exact weights"):
        continued(lm, prompts_of(lm), rounded, max_new_tokens=3)


def test_guidance_one_is_none_and_zero_ignores_the_text(lm: SpeechLM) -> None:
    prompts = prompts_of(lm)
    without = [prompt[-2:] for prompt in prompts]
    options: dict[str, Any] = {"max_new_tokens": [9, 5, 7], "seeds": [1, 2, 3]}
    ignoring = continued(
        lm, prompts, replace(WARM, guidance=0.0), unguided=without, min_new_tokens=3, **options
    )
    bare = continued(lm, without, WARM, min_new_tokens=3, **options)
    assert tokens_of(ignoring) == tokens_of(bare)
    strong = replace(WARM, guidance=3.0)
    together = continued(lm, prompts, strong, unguided=without, **options)
    alone = continued(lm, prompts[1:2], strong, unguided=without[1:2], max_new_tokens=5, seeds=[2])
    assert tokens_of(together)[1] == tokens_of(alone)[0]
    with pytest.raises(ValueError, match="prompt without text under guidance, got none"):
        continued(lm, prompts, strong, **options)


def test_loops_and_silence_end_a_row_and_say_why(lm: SpeechLM) -> None:
    every = frozenset(range(lm.vocabulary.codebook_size))
    rules = StopRules(silence_codes=every, longest_silence=6)
    with end_logit(-1e4):
        silent = continued(lm, prompts_of(lm), WARM, max_new_tokens=40, rules=rules)
    assert [(len(row.tokens), row.stopped) for row in silent] == [(6, "silence")] * 3
    assert all(row.truncated for row in silent)
    with end_logit(-1e4), torch.no_grad():
        lm.head.weight.zero_()  # greedy then says code 0 for ever
        looped = continued(
            lm, prompts_of(lm)[:1], GREEDY, max_new_tokens=60, rules=StopRules(longest_loop=9)
        )
    assert (len(looped[0].tokens), looped[0].stopped) == (9, "loop")


def test_what_cannot_be_generated_is_refused(lm: SpeechLM) -> None:
    good = torch.tensor([1, 5])
    cases: list[tuple[torch.Tensor, dict[str, Any], str]] = [
        (torch.zeros(0, dtype=torch.int64), {}, r"\[1, 160\)"),
        (torch.ones(160, dtype=torch.int64), {}, r"\[1, 160\)"),
        (torch.tensor([9999]), {}, "got up to 9999"),
        (good, {"min_new_tokens": 9}, "min_new_tokens <= max_new_tokens"),
        (torch.ones(158, dtype=torch.int64), {"min_new_tokens": 4}, "room for 4 codes"),
    ]
    for prompt, options, message in cases:
        with pytest.raises(ValueError, match=message):
            continued(lm, [prompt], GREEDY, max_new_tokens=5, **options)
    with pytest.raises(ValueError, match="eval mode"):
        continued(lm.train(), [good], max_new_tokens=5)
    assert generate(lm.eval(), []) == []
