import pytest
import torch

from slm.bench import bench_generation, prompt_tokens, random_lm, stock_twin


def test_the_stock_twin_is_the_same_model() -> None:
    lm = random_lm("1M")
    tokens = prompt_tokens(lm, 2)
    with torch.no_grad():
        torch.testing.assert_close(stock_twin(lm).net(tokens), lm(tokens), atol=2e-5, rtol=1e-4)


def test_the_bench_reports_every_contestant() -> None:
    report = bench_generation("1M", new_tokens=2, rounds=1, batch_size=2)
    assert set(report["times_stock"]) == {
        "exact_batch_1", "int8_batch_1", "bf16_batch_1", "exact_batch_2",
    }  # fmt: skip
    assert all(value > 0 for value in report["tokens_per_second"].values())
    assert report["step_at_2000_over_100"] > 0
    with pytest.raises(ValueError, match="expected a size"):
        bench_generation("7B")
