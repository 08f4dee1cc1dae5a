from __future__ import annotations

from pathlib import Path

import pytest
import torch

from codec.model.config import QuantizerConfig
from codec.model.quantizer import SLMVQ
from codec.training.codebook import CodebookUsage, usage_statistics
from tests.codec.parallel_run import count_and_average
from tests.support import forked


def test_statistics_of_hand_made_counts() -> None:
    statistics = usage_statistics(torch.tensor([2, 1, 1, 0]))
    assert statistics == {
        "tokens": 4.0,
        "codes_used": 3.0,
        "dead_codes": 1.0,
        "entropy": 1.5,
        "perplexity": pytest.approx(2.0**1.5),
    }


def test_a_window_sums_its_steps_and_the_next_begins_empty() -> None:
    use = CodebookUsage(8)
    use.update(torch.tensor([[0, 0], [1, 7]]))
    use.update(torch.tensor([7]))
    assert use.counts.tolist() == [2, 1, 0, 0, 0, 0, 0, 2]
    use.reset()
    assert use.statistics() == {}


def test_only_codes_of_the_coded_stage_are_counted() -> None:
    """The reference counted both stages together, which flatters a collapsed first stage."""
    quantizer = SLMVQ(QuantizerConfig(64, 4, 16, normalize_latents=False))
    quantizer.initialize(torch.randn(600, 4), seed=0)
    with torch.no_grad():
        first = quantizer.stage(0)
        first.code_transform[2].weight.zero_()  # type: ignore[index, union-attr, operator]
    result = quantizer.train()(torch.randn(2, 4, 100))
    use = CodebookUsage(64)
    use.update(result.codes)
    assert use.statistics()["codes_used"] == 1.0
    assert use.statistics()["tokens"] == 200.0


def test_counts_of_all_ranks_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    use = CodebookUsage(4)
    use.update(torch.tensor([0, 1]))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(
        torch.distributed, "all_reduce", lambda t: t.add_(torch.tensor([0, 0, 2, 0]))
    )
    assert use.statistics()["tokens"] == 4.0
    assert use.statistics()["codes_used"] == 3.0
    assert use.counts.tolist() == [1, 1, 0, 0]


@pytest.mark.slow
def test_two_ranks_count_and_average_together(tmp_path: Path) -> None:
    statuses = forked.run_ranks(count_and_average, output=tmp_path / "printed")
    assert statuses == [0, 0], forked.printed(tmp_path / "printed")
