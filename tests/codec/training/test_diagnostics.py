from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from codec.training.adversarial import AdversarialLosses
from codec.training.diagnostics import DivergedError, check_finite, gradient_norms
from codec.training.forward import ForwardPass

GOOD, BAD = torch.tensor(1.0), torch.tensor(float("nan"))


def check(
    values: dict[str, Tensor],
    activations: dict[str, Tensor] | None = None,
    batch: Tensor | None = None,
    folder: Path | None = None,
    weights: dict[str, Tensor] | None = None,
) -> None:
    check_finite(
        values,
        activations or {},
        torch.zeros(2, 8) if batch is None else batch,
        phase="joint",
        step=3,
        folder=folder,
        weights=weights,
    )


def test_finite_steps_pass_and_leave_no_file(tmp_path: Path) -> None:
    check({"mel": GOOD, "vq": GOOD}, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_first_bad_term_is_named_and_the_batch_saved(tmp_path: Path) -> None:
    batch = torch.randn(2, 8)
    with pytest.raises(DivergedError, match=r"vq is nan at step 3.*diverged-3.safetensors"):
        check({"mel": GOOD, "vq": BAD, "gradient_norm": BAD}, batch=batch, folder=tmp_path)
    saved = load_file(tmp_path / "diverged-3.safetensors")
    assert torch.equal(saved["waveform"], batch)
    assert int(saved["step"]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["diverged-3.safetensors"]


def test_the_part_whose_output_went_bad_first_is_named() -> None:
    outputs = {"encoder": torch.zeros(2), "decoder": torch.tensor([1.0, float("inf")])}
    with pytest.raises(DivergedError, match="not finite is the decoder's"):
        check({"mel": BAD}, {**outputs, "vocoder": torch.full((2,), float("nan"))})


def test_a_bad_batch_and_a_bad_gradient_are_told_apart() -> None:
    with pytest.raises(DivergedError, match="batch itself"):
        check({"mel": BAD}, batch=torch.tensor([[float("inf")]]))
    with pytest.raises(DivergedError, match=r"gradient_norm is inf.*all outputs are finite"):
        check({"mel": GOOD, "gradient_norm": torch.tensor(float("inf"))})


def test_the_cause_that_comes_first_is_named() -> None:
    outputs = {"encoder": torch.full((2,), float("nan"))}
    weights = {"encoder.weight": torch.full((2,), float("nan"))}
    bad = torch.tensor([[float("nan")]])
    for batch, given, cause in (
        (bad, weights, "; the batch itself is not finite; mend"),
        (None, weights, "weights encoder.weight were not finite before the step"),
        (None, {}, "the first output that is not finite is the encoder's"),
    ):
        with pytest.raises(DivergedError, match=cause):
            check({"mel": BAD}, outputs, batch, weights=given)


def test_gradient_norms_of_a_hand_made_chain() -> None:
    """latents -> mel = 2 * latents -> waveform = 3 * mel, one number each."""
    latents = torch.tensor([1.0], requires_grad=True)
    mel = 2.0 * latents
    waveform = 3.0 * mel
    outputs = ForwardPass(mel.detach(), latents=latents, mel=mel, waveform=waveform)
    losses = {"mel": 5.0 * mel.sum(), "vq": 7.0 * latents.sum(), "waveform_mel": waveform.sum()}
    weights = {"mel": 1.0, "vq": 0.5, "waveform_mel": 2.0, "adversarial": 0.1}
    fake = waveform.detach().requires_grad_()
    adversarial = AdversarialLosses(fake, {"adversarial": 4.0 * fake.sum()}, fake.sum())
    assert gradient_norms(outputs, losses, weights, {"waveform": adversarial}) == {
        "latents.mel": 10.0,
        "mel.mel": 5.0,
        "waveform.mel": 0.0,
        "latents.vq": 3.5,
        "mel.vq": 0.0,
        "waveform.vq": 0.0,
        "latents.waveform_mel": 12.0,
        "mel.waveform_mel": 6.0,
        "waveform.waveform_mel": 2.0,
        "latents.adversarial": pytest.approx(2.4),
        "mel.adversarial": pytest.approx(1.2),
        "waveform.adversarial": pytest.approx(0.4),
    }


def test_the_graph_of_the_step_is_left_for_its_own_backward_pass() -> None:
    latents = torch.tensor([1.0], requires_grad=True)
    mel = latents.square()
    losses = {"mel": mel.sum()}
    gradient_norms(ForwardPass(mel.detach(), latents, mel=mel), losses, {"mel": 1.0})
    assert latents.grad is None
    losses["mel"].backward()
    assert latents.grad is not None


def test_outputs_and_losses_that_do_not_train_are_left_out() -> None:
    mel = torch.tensor([1.0])
    waveform = torch.tensor([1.0], requires_grad=True)
    outputs = ForwardPass(mel, mel=mel, waveform=waveform)
    losses = {"mel": mel.sum(), "waveform_mel": waveform.sum()}
    found = gradient_norms(outputs, losses, {"mel": 1.0, "waveform_mel": 1.0})
    assert found == {"waveform.waveform_mel": 1.0}
