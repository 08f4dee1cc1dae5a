from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from codec.model.config import QuantizerConfig
from codec.model.quantizer import SLMVQ
from codec.training.codebook import CodebookUsage, usage_statistics

ROOT = Path(__file__).resolve().parents[3]


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


RANK = """
import sys
import torch
import torch.distributed as distributed
from codec import CodecConfig, HHCodec
from codec.training.codebook import CodebookUsage, estimate_statistics, initialize_codebook
from codec.model.config import QuantizerConfig
from codec.model.vector_quantization import EMAStage

rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
use = CodebookUsage(4)
use.update(torch.tensor([rank, rank, 2]))
statistics = use.statistics()
counted = [statistics[name] for name in ("tokens", "codes_used", "dead_codes")]
assert counted == [6.0, 3.0, 1.0], statistics
use.gather()
assert use.counts.tolist() == ([2, 2, 2, 0], [0, 0, 0, 0])[rank]
assert use.statistics() == statistics
stage = EMAStage(QuantizerConfig(8, 2, kind="ema"))
stage.fill(torch.arange(16.0).view(8, 2))
torch.manual_seed(rank)
stage(torch.randn(1, 2, 50))
other = stage.entries.clone()
distributed.broadcast(other, 0)
assert torch.equal(stage.entries, other)


class Crops:
    def batch(self, number):
        torch.manual_seed(number + rank)
        return 0.1 * torch.randn(2, 4096)


codec = HHCodec(CodecConfig.preset("tiny"))
initialize_codebook(codec, Crops(), seed=0, device=torch.device("cpu"), num_batches=2)
filled = codec.quantizer.mean.clone()
codec.quantizer.mean += 1.0
estimate_statistics(codec, Crops(), torch.device("cpu"), num_batches=2)
torch.testing.assert_close(codec.quantizer.mean, filled)
for value in codec.quantizer.state_dict().values():
    first = value.clone()
    distributed.broadcast(first, 0)
    assert torch.equal(value, first)
"""


@pytest.mark.slow
def test_two_ranks_count_and_average_together(tmp_path: Path) -> None:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "meeting")],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        _, error = rank.communicate(timeout=600)
        assert rank.returncode == 0, error
