import time

import pytest
import torch

from slm.bench.contestants import (
    clock_name,
    fastest,
    names,
    prompt_tokens,
    random_lm,
    stock_twin,
    transformers_twin,
)


def test_the_twins_are_the_same_model() -> None:
    """Stock exactly; Llama's norms have an epsilon that ours lack."""
    lm = random_lm("1M")
    tokens = prompt_tokens(lm, 2)
    with torch.no_grad():
        torch.testing.assert_close(stock_twin(lm).net(tokens), lm(tokens), atol=2e-5, rtol=1e-4)
        if "transformers" in names():
            logits = transformers_twin(lm)(tokens).logits
            torch.testing.assert_close(logits, lm(tokens), atol=1e-4, rtol=1e-3)


def test_a_size_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a size"):
        random_lm("7B")


def test_one_thread_is_timed_by_its_own_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside other work the wall clock counts the turns of others, too."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert (clock_name(), clock_name("cuda")) == ("processor", "wall")
    waiting = {"waits": lambda: time.sleep(0.05)}
    assert fastest(waiting, 1, "processor")["waits"] < 0.05 <= fastest(waiting, 1)["waits"]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert clock_name() == "wall"
