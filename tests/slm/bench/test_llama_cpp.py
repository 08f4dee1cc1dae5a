from typing import Any

import pytest
import torch

from slm.bench.contestants import prompt_tokens, random_lm
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from tests.support.builders import LLAMA3_SCALING

pytest.importorskip("gguf", reason="it writes what llama.cpp reads")
pytest.importorskip("xllamacpp", reason="it is llama.cpp")

from slm.bench.llama_cpp import LlamaCpp, llama_cpp_run


def decided_lm(biased: bool = False, **sizes: Any) -> SpeechLM:
    """Weights so large that likelihoods differ, and gains that are not one."""
    torch.manual_seed(0)
    given = {"dim": 32, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "dim_head": 16}
    vocabulary = Vocabulary(40, 24).to_dict()
    config = SpeechLMConfig(vocabulary, "x", 23.4375, max_seq_len=128, **{**given, **sizes})
    lm = SpeechLM(config).eval()
    with torch.no_grad():
        for name, parameter in lm.named_parameters():
            if parameter.ndim == 2:
                parameter.mul_(10)
            elif biased or "bias" not in name:
                parameter.add_(0.3 * torch.randn(parameter.shape[-1]))
    return lm


@pytest.mark.parametrize(
    "given",
    [
        {"num_kv_heads": 1},
        {"num_kv_heads": 4, "biased": True},
        {"rotary_scaling": LLAMA3_SCALING, "rotary_theta": 500000.0, "norm_eps": 1e-5},
        {"qk_norm": True, "norm_eps": 1e-5},
        {"qk_norm": True},
    ],
    ids=["one key head", "biases", "scaled positions", "qwen3", "qwen3 without epsilon"],
)
@torch.no_grad()
def test_llama_cpp_gives_the_likelihoods_of_the_model(given: dict[str, Any]) -> None:
    lm = decided_lm(**given)
    size = lm.vocabulary.vocab_size
    tokens = torch.randint(0, size, (40,), generator=torch.Generator().manual_seed(1))
    found = LlamaCpp(lm, 1, 42).log_probabilities(tokens, size)
    ours = lm(tokens[None])[0, -1].log_softmax(-1)
    assert ours.max() - ours.min() > 3
    theirs = torch.tensor([found[token] for token in range(size)])
    torch.testing.assert_close(theirs, ours, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_llama_cpp_continues_a_batch_by_the_tokens_of_the_model() -> None:
    lm = random_lm("1M")
    prompts = prompt_tokens(lm, 3)
    expected = prompts
    for _ in range(8):
        expected = torch.cat([expected, lm(expected)[:, -1:].argmax(-1)], dim=1)
    run = llama_cpp_run(lm, prompts, 8)
    assert run() == expected[:, -8:].tolist() == run()
