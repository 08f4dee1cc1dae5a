from collections.abc import Callable
from typing import Any

import pytest
import torch

from slm.engines.merged import FusedDecoder, kept_decoder
from slm.engines.merged_weights import fits, spoken_outputs
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
    decoder = FusedDecoder(lm, weights)
    cache, places = decoder.new_cache(2, 24), [12, 9]
    scale = float(expected.abs().max())
    with torch.no_grad():
        hidden = decoder.prefill(tokens[:, :12], places, cache)
        logits = decoder.logits(hidden, spoken_outputs(lm))
        for _ in range(6):
            for row, place in enumerate(places):
                error = (logits[row] - expected[row, place - 1]).abs().max() / scale
                assert error < tolerance
            hidden = decoder.step(tokens[torch.arange(2), torch.tensor(places)], places, cache)
            logits = decoder.logits(hidden, spoken_outputs(lm))
            places = [place + 1 for place in places]


def test_changed_weights_are_merged_anew_and_unchanged_ones_are_not(lm: SpeechLM) -> None:
    first = kept_decoder(lm, "exact", FusedDecoder)
    kept_decoder(lm, "int8", FusedDecoder)
    assert kept_decoder(lm, "exact", FusedDecoder) is first
    with torch.no_grad():
        lm.head.weight.mul_(2)
    assert kept_decoder(lm, "exact", FusedDecoder) is not first


def test_another_block_is_refused(lm: SpeechLM) -> None:
    assert fits(lm)
    lm.decoder.register_buffer("extra", torch.zeros(1))
    assert not fits(lm)
    with pytest.raises(ValueError, match="other parts"):
        FusedDecoder(lm)
