"""Text and speech in turns, as interleaved documents have them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from slm.data.documents import build_interleaved
from slm.generation.config import GenerationSettings
from slm.generation.generate import generate
from slm.generation.interleaved import InterleavedRequest
from slm.model.speech_lm import SpeechLM

pytestmark = pytest.mark.usefixtures("engine")

TEXT, PROMPT = np.array([5, 6, 7, 8, 9, 10, 11]), np.array([3, 1, 4, 1, 5])
GREEDY = GenerationSettings(temperature=0, interleaved=True)


@pytest.fixture
def lm(make_lm: Callable[..., SpeechLM]) -> SpeechLM:
    return make_lm(interleave_text=3, interleave_codes=4)


@pytest.mark.parametrize("prompt", [None, PROMPT])
def test_speech_is_what_the_whole_model_finds_likeliest_in_the_document(
    lm: SpeechLM, prompt: np.ndarray | None
) -> None:
    (made,) = generate(lm, [InterleavedRequest(TEXT, 12, 12, prompt)], GREEDY)
    vocabulary = lm.vocabulary
    codes = vocabulary.token_to_code(made.tokens.tolist())
    assert len(codes) == 12
    document = build_interleaved(vocabulary, codes, TEXT, every=(3, 4), prompt=prompt)
    tokens = torch.from_numpy(document.tokens)
    logits = lm(tokens[None])[0, :-1]
    places = [
        place
        for place in (document.loss_weights > 0).nonzero()[0].tolist()
        if tokens[place] >= vocabulary.code_start
    ]
    assert len(places) == 12
    for place in places:
        best = int(logits[place - 1, vocabulary.code_start :].argmax())
        assert int(tokens[place]) - vocabulary.code_start == best


def test_the_end_comes_in_the_last_turn_alone(lm: SpeechLM) -> None:
    with torch.no_grad():
        lm.head.weight[lm.vocabulary.eos_id] = 100 * lm.head.weight[
            lm.vocabulary.code_start :
        ].mean(0)
    settings = GenerationSettings(interleaved=True)
    made = generate(
        lm, [InterleavedRequest(TEXT, 30, 1, None, seed) for seed in range(8)], settings
    )
    # Two full turns of four codes precede the last piece of the text.
    assert min(len(each.tokens) for each in made) >= 8
    short = generate(lm, [InterleavedRequest(TEXT[:2], 30, 1, None, s) for s in range(8)], settings)
    assert min(len(each.tokens) for each in short) < 8


def test_a_batch_gives_each_text_what_it_gets_alone(lm: SpeechLM) -> None:
    requests = [
        InterleavedRequest(TEXT, 14, 5),
        InterleavedRequest(TEXT[:4], 9, 3, PROMPT, 1),
        InterleavedRequest(TEXT[:2], 11, 3, PROMPT[:2], 2),
    ]
    for settings in (GREEDY, GenerationSettings(temperature=0, prompt_guidance=2.0)):
        together = generate(lm, requests, settings)
        alone = [generate(lm, [request], settings)[0] for request in requests]
        few = generate(lm, requests, settings, max_rows=2)
        for row, single, waited in zip(together, alone, few, strict=True):
            assert row.tokens.tolist() == single.tokens.tolist() == waited.tokens.tolist()


def test_what_cannot_be_spoken_in_turns_is_refused(
    lm: SpeechLM, make_lm: Callable[..., SpeechLM]
) -> None:
    with pytest.raises(ValueError, match="interleave_text 0"):
        generate(make_lm(), [InterleavedRequest(TEXT, 9)])
    with pytest.raises(ValueError, match="prompt_guidance is there"):
        generate(lm, [InterleavedRequest(TEXT, 9)], GenerationSettings(guidance=2.0))
    with pytest.raises(ValueError, match="room for 1 codes"):
        generate(lm, [InterleavedRequest(np.tile(TEXT, 20), 9)])
    with pytest.raises(ValueError, match=r"text ids \(T,\)"):
        generate(lm, [InterleavedRequest(TEXT[:0], 9)])
    with pytest.raises(ValueError, match="interleave_text, interleave_codes"):
        make_lm(interleave_text=3)
