from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from slm.engines.merged_weights import Outputs, speech_outputs
from slm.engines.native import NativeDecoder, NativeEngine, can_run
from slm.engines.native_build import is_available
from slm.generation.config import GenerationSettings
from slm.generation.generate import TokenRequest, generate
from slm.model.speech_lm import SpeechLM

pytestmark = pytest.mark.skipif(not is_available(), reason="no C++ compiler")


def tokens_of(lm: SpeechLM, rows: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(6, lm.vocabulary.vocab_size, (rows, length), generator=generator)


def expected(lm: SpeechLM, tokens: torch.Tensor, outputs: Outputs) -> torch.Tensor:
    """Logits (B, S, N) of the model itself."""
    columns = [token for stretch in outputs for token in stretch]
    with torch.no_grad():
        return lm(tokens)[..., columns]


def far_weights(lm: SpeechLM) -> SpeechLM:
    """Gains and biases away from where they start."""
    with torch.no_grad():
        for name, parameter in lm.named_parameters():
            if name.endswith((".g", ".gamma", ".bias")):
                parameter.normal_(std=0.3)
    return lm


@torch.no_grad()
def read(lm: SpeechLM, tokens: torch.Tensor, pieces: Sequence[int], **how: Any) -> torch.Tensor:
    """Logits (B, len(pieces), N) after each of some pieces of the rows, read together."""
    engine = NativeEngine(NativeDecoder(lm, how.pop("weights", "exact")), len(tokens), 600)
    logits, start = [], 0
    for number, length in enumerate(pieces):
        part = tokens[:, start : start + length]
        hidden = engine.extend(part.tolist()) if number else engine.prefill(list(part))
        logits.append(engine.logits(hidden, speech_outputs(lm)))
        start += length
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize(
    ("weights", "tolerance", "blocks"),
    [
        ("exact", 2e-5, {"num_kv_heads": 2}),
        ("exact", 2e-5, {"num_heads": 8, "num_kv_heads": 2, "dim_head": 16}),
        ("exact", 2e-5, {"num_heads": 3, "num_kv_heads": 1, "dim_head": 64, "dim": 96}),
        ("exact", 2e-5, {"num_heads": 6, "num_kv_heads": 1, "dim_head": 80}),
        ("exact", 2e-5, {"num_kv_heads": 1, "qk_norm": True}),
        ("exact", 2e-5, {"num_kv_heads": 1, "norm_eps": 1e-3}),
        ("exact", 2e-5, {"num_kv_heads": 1, "qk_norm": True, "norm_eps": 1e-3}),
        ("exact", 2e-5, {"rotary_theta": 500.0}),
        ("bf16", 0.06, {"num_kv_heads": 1}),
        ("int8", 0.06, {"num_kv_heads": 1}),
    ],
)
def test_logits_are_the_models(
    make_lm: Callable[..., SpeechLM], weights: str, tolerance: float, blocks: dict[str, Any]
) -> None:
    """Prompts, single tokens and pieces, past several chunks of keys; shares of the largest."""
    lm = far_weights(make_lm(gain=2.0, max_seq_len=600, **blocks))
    tokens, pieces = tokens_of(lm, 2, 302), [127, 1, 1, 1, 70, 101, 1]
    wanted = expected(lm, tokens, speech_outputs(lm))
    ends = torch.tensor(pieces).cumsum(0) - 1
    error = (read(lm, tokens, pieces, weights=weights) - wanted[:, ends]).abs().max()
    assert error / wanted.abs().max() < tolerance


@pytest.mark.parametrize("weights", ["exact", "bf16", "int8"])
def test_a_row_is_the_same_to_the_bit_in_any_batch_in_any_pieces_by_any_threads(
    make_lm: Callable[..., SpeechLM], weights: str
) -> None:
    lm = make_lm(num_kv_heads=1, max_seq_len=600)
    tokens = tokens_of(lm, 15, 300)
    alone = read(lm, tokens[:1], [150, 149, 1], weights=weights)[0, 1:]
    threads = torch.get_num_threads()
    try:
        for rows, count in ((15, threads), (7, 3), (2, 1)):
            torch.set_num_threads(count)
            together = read(lm, tokens[:rows], [299, 1], weights=weights)[0]
            assert torch.equal(together, alone)
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def test_slots_of_rows_that_left_are_taken_by_others(lm: SpeechLM) -> None:
    """Two slots; the middle of three rows comes and goes, and no leftovers are seen."""
    decoder, outputs = NativeDecoder(lm), speech_outputs(lm)
    first, second, third = (tokens_of(lm, 3, 40)[row] for row in range(3))
    engine = NativeEngine(decoder, 2, 50)
    engine.prefill([first[:20], second[:30]])
    engine.select([0])
    engine.prefill([third[:5]])
    engine.decode(torch.stack([first[20], third[5]]))
    engine.select([1, 0])  # and change places
    logits = engine.logits(engine.decode(torch.stack([third[6], first[21]])), outputs)
    wanted = expected(lm, torch.stack([third, first]), outputs)
    torch.testing.assert_close(logits, wanted[[0, 1], [6, 21]], atol=1e-4, rtol=1e-4)


def test_any_tokens_logits_can_be_asked_for(lm: SpeechLM) -> None:
    outputs = (range(2, 5), range(7, 8), range(30, 71))
    tokens = tokens_of(lm, 1, 9)
    engine = NativeEngine(NativeDecoder(lm), 1, 16)
    with torch.no_grad():
        logits = engine.logits(engine.prefill(list(tokens)), outputs)
    wanted = expected(lm, tokens, outputs)[:, -1]
    torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-4)


def test_models_it_does_not_know_are_generated_from_otherwise(
    make_lm: Callable[..., SpeechLM],
) -> None:
    """Double precision, and heads that do not fill vectors."""
    lm = make_lm().double()
    assert not can_run(lm)
    prompt = tokens_of(lm, 1, 5)[0]
    assert generate(lm, [TokenRequest(prompt, 3)])
    with pytest.raises(ValueError, match=r"expected a float32 model .* got torch\.float64"):
        generate(lm, [TokenRequest(prompt, 3)], GenerationSettings(engine="native"))
    assert not can_run(make_lm(dim_head=24))
