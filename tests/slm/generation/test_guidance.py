"""Guidance on text and prompt apart, and durations drawn by settings of their own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from slm.data.documents import prefix_tokens
from slm.data.vocabulary import Vocabulary
from slm.generation.aligned import AlignedRequest
from slm.generation.config import GenerationSettings
from slm.generation.generate import Request, TokenRequest, generate, open_session
from slm.generation.sampling import guide, guide_both
from slm.model.speech_lm import SpeechLM
from slm.text.phone_tokenizer import PAUSE_ID, PhoneTokenizer, word_units

CAT = np.array([PAUSE_ID, *word_units(["K", "AE", "T"]), PAUSE_ID])
PROMPT = np.array([3, 1, 4, 1, 5])
GREEDY = GenerationSettings(temperature=0)


@pytest.fixture
def aligned_lm(make_lm: Callable[..., SpeechLM]) -> SpeechLM:
    vocabulary = Vocabulary(PhoneTokenizer.vocab_size, 64)
    return make_lm(vocabulary=vocabulary.to_dict(), lookahead=2, max_seq_len=400)


def tokens(lm: SpeechLM, request: Request, settings: GenerationSettings) -> list[int]:
    return generate(lm, [request], settings)[0].tokens.tolist()


def request_of(lm: SpeechLM, seed: int = 0) -> TokenRequest:
    """A text of four ids in the voice of a prompt."""
    text, prefix = [5, 6, 7, 8], lambda *parts: torch.from_numpy(prefix_tokens(*parts))
    return TokenRequest(
        prefix(lm.vocabulary, text, PROMPT),
        12,
        12,
        seed,
        unguided=prefix(lm.vocabulary, None, PROMPT),
        unprompted=prefix(lm.vocabulary, text),
    )


def test_two_scales_meet_guidance_on_one_condition_where_the_other_is_one() -> None:
    whole, without_text, without_prompt = torch.randn(3, 2, 9)
    for scale in (0.0, 1.0, 2.5):
        both = guide_both(whole, without_text, without_prompt, (scale, 1.0))
        torch.testing.assert_close(both, guide(whole, without_text, scale))
        both = guide_both(whole, without_text, without_prompt, (1.0, scale))
        torch.testing.assert_close(both, guide(whole, without_prompt, scale))


@pytest.mark.usefixtures("engine")
def test_each_scale_of_a_whole_text_leads_away_from_its_own_condition(lm: SpeechLM) -> None:
    """At scale 0 of one alone, what is drawn is what it is without that condition."""
    request = request_of(lm)
    greedy: dict[str, Any] = {"temperature": 0.0}
    assert request.unguided is not None
    assert request.unprompted is not None
    for name, scale in (("unguided", "guidance"), ("unprompted", "prompt_guidance")):
        bare = TokenRequest(getattr(request, name), 12, 12)
        expected = tokens(lm, bare, GenerationSettings(**greedy))
        without: dict[str, Any] = {**greedy, scale: 0.0}
        assert tokens(lm, request, GenerationSettings(**without)) == expected
    plain = tokens(lm, request, GenerationSettings(**greedy))
    both = GenerationSettings(**greedy, guidance=3.0, prompt_guidance=3.0)
    only = GenerationSettings(**greedy, guidance=3.0)
    assert len({tuple(tokens(lm, request, each)) for each in (both, only)} | {tuple(plain)}) == 3


@pytest.mark.usefixtures("engine")
def test_guidance_on_the_prompt_of_an_aligned_model_leads_away_from_no_prompt(
    aligned_lm: SpeechLM,
) -> None:
    """At scale 0 codes are those without the prompt, as many as the prompted model says."""
    session = open_session(
        aligned_lm,
        [AlignedRequest(CAT, PROMPT)],
        GenerationSettings(temperature=0, prompt_guidance=0.0),
    )
    plain, bare = (
        open_session(aligned_lm, [AlignedRequest(CAT, prompt)], GenerationSettings(temperature=0))
        for prompt in (PROMPT, None)
    )
    for each in (session, plain, bare):
        while not each.done:
            each.step()
    first = next(n for n, count in enumerate(session.rows[0].counts) if count)
    assert session.rows[0].counts[: first + 1] == plain.rows[0].counts[: first + 1]
    if session.rows[0].counts[: first + 1] == bare.rows[0].counts[: first + 1]:
        assert session.rows[0].tokens[0] == bare.rows[0].tokens[0]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("prompt", [None, PROMPT])
def test_guidance_on_the_text_of_an_aligned_model_leads_away_from_speech_alone(
    aligned_lm: SpeechLM, prompt: np.ndarray | None
) -> None:
    """At scale 0 codes are those of a document without units and durations."""
    guided = GenerationSettings(temperature=0, guidance=0.0)
    made = generate(aligned_lm, [AlignedRequest(np.tile(CAT, 3), prompt)], guided)[0]
    assert len(made.tokens) > 3
    prefix = torch.from_numpy(prefix_tokens(aligned_lm.vocabulary, None, prompt))
    alone = TokenRequest(prefix, len(made.tokens), len(made.tokens))
    assert made.tokens.tolist() == tokens(aligned_lm, alone, GenerationSettings(temperature=0))
    # Durations are drawn from the text: the first one, which no code precedes.
    given = generate(aligned_lm, [AlignedRequest(np.tile(CAT, 3), prompt)], GREEDY)[0]
    assert made.counts[0] == given.counts[0]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(("text_scale", "prompt_scale"), [(1.0, 2.0), (3.0, 1.0), (3.0, 2.0)])
def test_a_guided_batch_gives_each_text_what_it_gets_alone(
    aligned_lm: SpeechLM, text_scale: float, prompt_scale: float
) -> None:
    settings = replace(GREEDY, guidance=text_scale, prompt_guidance=prompt_scale)
    requests = [AlignedRequest(CAT, PROMPT), AlignedRequest(CAT[1:], PROMPT[:2], 4)]
    together = [row.tokens.tolist() for row in generate(aligned_lm, requests, settings)]
    assert together == [tokens(aligned_lm, request, settings) for request in requests]
    few = generate(aligned_lm, requests, settings, max_rows=1)
    assert [row.tokens.tolist() for row in few] == together


def test_without_a_prompt_guidance_on_it_changes_nothing(aligned_lm: SpeechLM) -> None:
    guided = GenerationSettings(temperature=0, prompt_guidance=3.0)
    plain = GenerationSettings(temperature=0)
    request = AlignedRequest(CAT)
    assert tokens(aligned_lm, request, guided) == tokens(aligned_lm, request, plain)


def counts_of(lm: SpeechLM, settings: GenerationSettings) -> list[list[int]]:
    session = open_session(lm, [AlignedRequest(CAT, None, seed) for seed in range(12)], settings)
    while not session.done:
        session.step()
    return [row.counts for row in session.rows]


def test_durations_are_drawn_by_settings_of_their_own(
    aligned_lm: SpeechLM, make_lm: Callable[..., SpeechLM]
) -> None:
    cold = GenerationSettings(temperature=1.0, top_p=1.0, duration_temperature=0.0)
    # Seeds change codes, not the first durations, which no code precedes.
    assert len({tuple(counts[:1]) for counts in counts_of(aligned_lm, cold)}) == 1
    warm = GenerationSettings(temperature=1.0, top_p=1.0)
    assert len({tuple(counts[:1]) for counts in counts_of(aligned_lm, warm)}) > 1
    # Greedy codes do not make durations greedy where they have a temperature of their own.
    apart = GenerationSettings(temperature=0, duration_temperature=1.0, duration_top_p=1.0)
    assert len({tuple(counts[:1]) for counts in counts_of(aligned_lm, apart)}) > 1


def test_durations_follow_the_call_then_the_model_then_the_codes(
    make_lm: Callable[..., SpeechLM],
) -> None:
    plain = make_lm().config
    own = make_lm(duration_temperature=0.9, duration_top_p=0.7).config
    asked = GenerationSettings(temperature=0.4, top_p=0.8, top_k=5, min_p=0.1)
    assert asked.for_durations(plain) == asked
    drawn = asked.for_durations(own)
    assert (drawn.temperature, drawn.top_p, drawn.top_k, drawn.min_p) == (0.9, 0.7, 0, 0.0)
    given = GenerationSettings(duration_temperature=0.5, duration_top_p=0.6)
    drawn = given.for_durations(own)
    assert (drawn.temperature, drawn.top_p) == (0.5, 0.6)
    assert GenerationSettings(temperature=0).for_durations(own).temperature == 0
    assert GenerationSettings.for_model(own).duration_temperature == 0.9
    led = GenerationSettings.for_model(make_lm(guidance=2.0, prompt_guidance=1.5).config)
    assert (led.guidance, led.prompt_guidance) == (2.0, 1.5)
    with pytest.raises(ValueError, match="duration_temperature"):
        GenerationSettings(duration_temperature=-1.0)
    with pytest.raises(ValueError, match="duration_top_p"):
        GenerationSettings(duration_top_p=0.0)
