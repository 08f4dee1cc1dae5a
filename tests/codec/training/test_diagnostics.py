import pytest
import torch
from safetensors.torch import load_file

from codec.training.diagnostics import DivergedError, check_finite

GOOD, BAD = torch.tensor(1.0), torch.tensor(float("nan"))


def check(values, activations=None, batch=None, folder=None):
    check_finite(
        values,
        activations or {},
        torch.zeros(2, 8) if batch is None else batch,
        phase="joint",
        step=3,
        folder=folder,
    )


def test_finite_steps_pass_and_leave_no_file(tmp_path):
    check({"mel": GOOD, "vq": GOOD}, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_first_bad_term_is_named_and_the_batch_saved(tmp_path):
    batch = torch.randn(2, 8)
    with pytest.raises(DivergedError, match=r"vq is nan at step 3.*diverged-3.safetensors"):
        check({"mel": GOOD, "vq": BAD, "gradient_norm": BAD}, batch=batch, folder=tmp_path)
    saved = load_file(tmp_path / "diverged-3.safetensors")
    assert torch.equal(saved["waveform"], batch)
    assert int(saved["step"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["diverged-3.safetensors"]


def test_the_part_whose_output_went_bad_first_is_named():
    outputs = {"encoder": torch.zeros(2), "decoder": torch.tensor([1.0, float("inf")])}
    with pytest.raises(DivergedError, match="not finite is the decoder's"):
        check({"mel": BAD}, {**outputs, "vocoder": torch.full((2,), float("nan"))})


def test_a_bad_batch_and_a_bad_gradient_are_told_apart():
    with pytest.raises(DivergedError, match="batch itself"):
        check({"mel": BAD}, batch=torch.tensor([[float("inf")]]))
    with pytest.raises(DivergedError, match=r"gradient_norm is inf.*all outputs are finite"):
        check({"mel": GOOD, "gradient_norm": torch.tensor(float("inf"))})
