from collections.abc import Callable
from typing import Any

import pytest
import torch

from slm.engines.matrix import can_pack
from slm.engines.merged import MergedDecoder, MergedEngine, cached_decoder
from slm.engines.merged_weights import fits, speech_outputs
from slm.model.speech_lm import SpeechLM


def spoken(lm: SpeechLM, tokens: torch.Tensor) -> torch.Tensor:
    """Logits of the end and the codes by the model itself."""
    vocabulary = lm.vocabulary
    columns = [vocabulary.eos_id, *range(vocabulary.code_start, vocabulary.vocab_size)]
    with torch.no_grad():
        return lm(tokens)[..., columns]


@pytest.mark.parametrize(
    ("weights", "tolerance", "blocks"),
    [
        ("exact", 2e-5, {"num_kv_heads": 2}),
        ("exact", 2e-5, {"num_kv_heads": 1}),
        ("bf16", 0.06, {"num_kv_heads": 1}),
        ("int8", 0.06, {"num_kv_heads": 1}),
        ("exact", 2e-5, {"num_kv_heads": 1, "qk_norm": True}),
        ("exact", 2e-5, {"num_kv_heads": 1, "norm_eps": 1e-3}),
        ("exact", 2e-5, {"num_kv_heads": 1, "qk_norm": True, "norm_eps": 1e-3}),
        ("exact", 2e-5, {"rotary_theta": 500.0}),
    ],
)
def test_merged_weights_say_what_the_model_says(
    make_lm: Callable[..., SpeechLM], weights: str, tolerance: float, blocks: dict[str, Any]
) -> None:
    """Unequal rows, prompts and single steps; tolerances are shares of the largest logit."""
    lm = make_lm(gain=2.0, **blocks)
    with torch.no_grad():
        for name, parameter in lm.named_parameters():
            if name.endswith((".g", ".gamma", ".bias")):
                parameter.normal_(std=0.3)
    tokens = torch.randint(0, lm.vocabulary.vocab_size, (2, 20))
    expected = spoken(lm, tokens)
    lengths, scale = [12, 9], float(expected.abs().max())
    engine = MergedEngine(MergedDecoder(lm, weights), 2, 24)
    with torch.no_grad():
        hidden = engine.prefill([tokens[0, :12], tokens[1, :9]])
        logits = engine.logits(hidden, speech_outputs(lm))
        for _ in range(6):
            for row, length in enumerate(lengths):
                error = (logits[row] - expected[row, length - 1]).abs().max() / scale
                assert error < tolerance
            hidden = engine.decode(tokens[torch.arange(2), torch.tensor(lengths)])
            logits = engine.logits(hidden, speech_outputs(lm))
            lengths = [length + 1 for length in lengths]


@pytest.mark.parametrize("packs", [can_pack, lambda dtype: False])
def test_bf16_weights_run_on_processors_that_cannot_pack_them(
    make_lm: Callable[..., SpeechLM], packs: Callable[[torch.dtype], bool]
) -> None:
    """Processors without AVX-512 read the plain layout; the result is that of the other one."""
    lm = make_lm(gain=2.0, num_kv_heads=1)
    tokens = torch.randint(0, lm.vocabulary.vocab_size, (1, 12))
    expected = spoken(lm, tokens)[0, -1]
    engine = MergedEngine(MergedDecoder(lm, "bf16", packs), 1, 16)
    with torch.no_grad():
        logits = engine.logits(engine.prefill(list(tokens)), speech_outputs(lm))[0]
    assert (logits - expected).abs().max() / expected.abs().max() < 0.06


def test_changed_weights_are_merged_anew_and_unchanged_ones_are_not(lm: SpeechLM) -> None:
    first = cached_decoder(lm, "exact", MergedDecoder)
    cached_decoder(lm, "int8", MergedDecoder)
    assert cached_decoder(lm, "exact", MergedDecoder) is first
    with torch.no_grad():
        lm.head.weight.mul_(2)
    assert cached_decoder(lm, "exact", MergedDecoder) is not first


def test_another_block_is_refused(lm: SpeechLM) -> None:
    assert fits(lm)
    lm.decoder.register_buffer("extra", torch.zeros(1))
    assert not fits(lm)
    with pytest.raises(ValueError, match="other parts"):
        MergedDecoder(lm)
