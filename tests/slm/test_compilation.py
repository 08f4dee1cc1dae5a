import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import slm.steps
from slm.compilation import CompiledDecoder, can_compile
from slm.config import GenerationSettings
from slm.decoding import FusedDecoder
from slm.generation import Generation, generate
from slm.model import SpeechLM

GREEDY = GenerationSettings(temperature=0)


class Counting:
    """A backend of `torch.compile` that runs what it is given and counts how often it is asked."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Have generation compile its steps with a counting backend, which needs no C++ compiler."""
    backend = Counting()

    class Counted(CompiledDecoder):
        def __init__(self, lm: SpeechLM, weights: str = "exact") -> None:
            super().__init__(lm, weights, backend)

    monkeypatch.setattr(slm.steps, "CompiledDecoder", Counted)
    monkeypatch.setattr(slm.steps, "can_compile", lambda device: True)
    return backend


def prompts_of(lm: SpeechLM, *lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    size = lm.vocabulary.vocab_size
    return [torch.randint(6, size, (length,), generator=generator) for length in lengths]


def tokens_of(results: list[Generation]) -> list[list[int]]:
    return [result.tokens.tolist() for result in results]


def test_nothing_compiles_after_the_first_step_whatever_is_said(
    make_lm: Callable[..., SpeechLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other prompts, lengths, places, row counts and caches: two graphs in all."""
    backend = counting(monkeypatch)
    lm = make_lm(num_kv_heads=1)
    settings = replace(GREEDY, compile=True)
    seen = []
    for lengths, limit in [((3,), 4), ((7,), 90), ((1, 9), 5), ((30, 2, 5), 100), ((2,) * 7, 3)]:
        options = {"max_new_tokens": limit, "min_new_tokens": limit}
        generate(lm, prompts_of(lm, *lengths), settings, **options)
        generate(lm, prompts_of(lm, *lengths), settings, max_rows=2, **options)
        seen.append(backend.graphs)
    assert seen == [2] * 5


@pytest.mark.parametrize(
    "blocks", [{}, {"qk_norm": True}, {"norm_eps": 1e-5}, {"qk_norm": True, "norm_eps": 1e-5}]
)
def test_compiled_steps_say_what_the_others_say(
    make_lm: Callable[..., SpeechLM], monkeypatch: pytest.MonkeyPatch, blocks: dict[str, Any]
) -> None:
    counting(monkeypatch)
    lm = make_lm(num_kv_heads=1, **blocks)
    for weights in ("exact", "bf16", "int8"):
        plain, compiled = FusedDecoder(lm, weights), slm.steps.CompiledDecoder(lm, weights)
        for rows in (1, 3):
            tokens = torch.randint(6, lm.vocabulary.vocab_size, (rows, 9))
            caches = [decoder.new_cache(rows, 50) for decoder in (plain, compiled)]
            lengths, places = [9 - row for row in range(rows)], [40 - row for row in range(rows)]
            logits = []
            with torch.no_grad():
                for decoder, cache in zip((plain, compiled), caches, strict=True):
                    decoder.prefill(tokens, lengths, cache)
                    decoder.step(tokens[:, 0], lengths, cache)
                    logits.append(decoder.step(tokens[:, 1], places, cache))
            tolerance = 2e-5 if weights == "exact" else 0.05
            error = (logits[0] - logits[1]).abs().max() / logits[0].abs().max()
            assert error < tolerance


def test_without_a_compiler_speech_is_the_same_and_a_warning_says_why(
    lm: SpeechLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert not can_compile(torch.device("cpu"))
    prompts = prompts_of(lm, 4)
    with pytest.warns(RuntimeWarning, match=r"expected a C\+\+ compiler"):
        without = generate(lm, prompts, replace(GREEDY, compile=True), max_new_tokens=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = generate(lm, prompts, GREEDY, max_new_tokens=8)
    assert tokens_of(without) == tokens_of(plain)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's own imports
@pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="needs a C++ compiler")
@pytest.mark.parametrize("rows", [1, 3])
def test_compiled_code_speaks_token_for_token_as_the_whole_model(lm: SpeechLM, rows: int) -> None:
    prompts = prompts_of(lm, 5, 17, 8)[:rows]
    compiled = generate(lm, prompts, replace(GREEDY, compile=True), max_new_tokens=30)
    whole = generate(lm, prompts, replace(GREEDY, use_cache=False), max_new_tokens=30)
    assert tokens_of(compiled) == tokens_of(whole)
