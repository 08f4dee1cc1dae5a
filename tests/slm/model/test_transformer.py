from collections.abc import Callable
from typing import Any

import pytest
import torch
from x_transformers import TransformerWrapper

from slm.model.speech_lm import SpeechLM
from slm.model.transformer import library_decoder


@pytest.mark.parametrize("sizes", [{}, {"num_kv_heads": 1}, {"qk_norm": True}, {"dropout": 0.1}])
def test_a_model_is_that_of_the_library_with_its_own_tensor_names(
    make_lm: Callable[..., SpeechLM], sizes: dict[str, Any]
) -> None:
    """Logits and gradients of x-transformers' own model from the same weights."""
    lm = make_lm(**sizes)
    net = TransformerWrapper(
        num_tokens=lm.vocabulary.vocab_size,
        max_seq_len=lm.config.max_seq_len,
        attn_layers=library_decoder(lm.config),
        use_abs_pos_emb=False,
    ).eval()
    assert list(net.attn_layers.state_dict()) == list(lm.decoder.state_dict())
    net.attn_layers.load_state_dict(lm.decoder.state_dict())
    state = {"token_emb.emb.weight": lm.embedding.weight, "to_logits.weight": lm.head.weight}
    net.load_state_dict(net.state_dict() | state)
    tokens = torch.randint(6, 80, (2, 40))
    logits, expected = lm(tokens), net(tokens)
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=2e-5)
    draws = torch.randn(logits.shape)
    (logits * draws).sum().backward()
    (expected * draws).sum().backward()
    theirs = dict(net.attn_layers.named_parameters())
    for name, parameter in lm.decoder.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=2e-4, rtol=2e-4)


def test_a_branch_adds_its_block_of_the_normed_input(lm: SpeechLM) -> None:
    x = torch.randn(1, 5, lm.config.dim)
    (norm,), feed = lm.blocks[1]  # type: ignore[misc]
    torch.testing.assert_close(lm.blocks[1](x), x + feed(norm(x)))
