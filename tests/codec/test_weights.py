"""Models that are no larger than their file of weights, all of whose values are finite."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

import codec as codec_package
from codec import HHCodec
from codec.weights import ZerosAsFirstWeights, bounded_build, check_finite, save_tensors

STORED = {"weight": torch.zeros(4, 4)}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_weights_that_are_not_finite_are_refused_by_name(value: float, dtype: torch.dtype) -> None:
    tensors = {"ids": torch.arange(3), "none": torch.zeros(0), "fine": torch.ones(2, dtype=dtype)}
    check_finite("folder", tensors)
    tensors["wrong"] = torch.tensor([[1.0, value], [0.0, -1.0]], dtype=dtype)
    with pytest.raises(ValueError, match=r"folder: expected finite weights, got .* in wrong"):
        check_finite("folder", tensors)


def test_weights_that_are_not_finite_in_float32_are_refused() -> None:
    check_finite("folder", {"fine": torch.tensor([1e38, -1e-300], dtype=torch.float64)})
    large = {"large": torch.tensor([0.0, -1e39], dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"expected finite weights, got .* in large"):
        check_finite("folder", large)


def test_weights_of_eight_bits_are_looked_at_and_complex_ones_refused() -> None:
    eight = torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn)
    check_finite("folder", {"eight": eight[:1]})
    with pytest.raises(ValueError, match=r"expected finite weights, got .* in eight"):
        check_finite("folder", {"eight": eight})
    with pytest.raises(ValueError, match=r"expected real weights, got torch.complex64 in both"):
        check_finite("folder", {"both": torch.ones(2, dtype=torch.complex64)})


def test_a_model_much_larger_than_its_weights_is_refused() -> None:
    with bounded_build("folder", STORED):
        nn.Linear(64, 64)
    # Ten thousand times the memory: refused before a value of it is set.
    larger = pytest.raises(ValueError, match=r"1 tensors of 16 values, got .* far larger model")
    with larger, bounded_build("folder", STORED):
        nn.Linear(1 << 15, 1 << 15)
    with pytest.raises(ValueError, match="far larger model"), bounded_build("folder", STORED):
        nn.ModuleList(nn.Linear(1, 1) for _ in range(10**9))
    nn.Linear(4096, 4096)  # outside nothing is counted


def test_sizes_that_nothing_can_be_built_from_are_refused() -> None:
    refused = pytest.raises(ValueError, match=r"no model can be built from \(RuntimeError")
    with refused, bounded_build("folder", STORED):
        nn.Linear(-1, 3)


def test_a_failed_write_of_weights_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        save_tensors({"a": torch.ones(3)}, tmp_path / "there")
    assert (caught.value.errno, caught.value.filename) == (errno.EISDIR, str(tmp_path / "there"))


def test_no_file_of_weights_is_written_but_by_this_module() -> None:
    root = Path(codec_package.__file__).parents[1]
    for package in ("codec", "slm", "eval", "recipes"):
        for path in (root / package).rglob("*.py"):
            if path != root / "codec" / "weights.py":
                assert "save_file(" not in path.read_text(encoding="utf-8"), path


def test_models_are_built_of_zeros_and_leave_the_random_state_where_weights_are_loaded_next() -> (
    None
):
    before = torch.random.get_rng_state()
    with ZerosAsFirstWeights():
        truncated = nn.init.trunc_normal_(torch.empty(3, 5), std=0.02)
        drawn = [weight_norm(nn.Conv1d(4, 8, 3)), nn.Embedding(5, 4), nn.LSTM(4, 4)]
        kept = nn.LayerNorm(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(value.any() for module in drawn for value in module.parameters())
    assert not truncated.any()
    assert kept.weight.all()  # what is not drawn stays
    assert nn.Linear(4, 4).weight.any()


@pytest.mark.parametrize("name", ["hh-mini-24k", "hh-mini-24k-v2"])
def test_a_codec_loaded_into_zeros_is_the_codec(name: str) -> None:
    expected = HHCodec.from_pretrained(name, fold=False)
    with ZerosAsFirstWeights():
        codec = HHCodec.from_pretrained(name, fold=False)
    assert codec.fingerprint == expected.fingerprint
    # buffers that are computed and not stored, too
    pairs = zip(codec.named_buffers(), expected.named_buffers(), strict=True)
    assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)
