import pytest

from slm.bench.contestants import OTHERS, engines, names
from slm.bench.generation import bench_generation, table


def test_the_bench_reports_every_contestant() -> None:
    report = bench_generation("1M", new_tokens=2, rounds=1, batch_size=2)
    alone = {f"{name}_batch_1" for name in names()}
    together = {f"{name}_batch_2" for name in names() if name in (*OTHERS, *engines())}
    assert set(report["tokens_per_second"]) == alone | together
    assert set(report["times_stock"]) == set(report["tokens_per_second"]) - {
        "stock_batch_1",
        "stock_batch_2",
    }
    assert all(value > 0 for value in report["tokens_per_second"].values())
    assert set(report["share_of_ceiling"]) == set(engines())
    assert all(ratio > 0 for ratio in report["step_at_2000_over_100"].values())
    rows = [line for line in table(report).splitlines() if line.startswith("| torch |")]
    assert len(rows) == 2


def test_one_contestant_alone_is_timed_without_the_others() -> None:
    report = bench_generation("1M", new_tokens=2, rounds=1, batch_size=1, only=["stock"])
    assert set(report["tokens_per_second"]) == {"stock_batch_1"}
    assert report["process_peak_memory_bytes"] > 1e8
    with pytest.raises(ValueError, match="expected a contestant"):
        bench_generation("1M", only=["nobody"])
