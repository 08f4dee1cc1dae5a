import pytest
import torch

from codec.training.adversarial import Verdict
from codec.training.balance import gradient_balance
from codec.training.forward import Generated


def test_norms_at_every_seam_of_a_hand_made_chain():
    """latents -> mel = 2 * latents -> waveform = 3 * mel, one number each."""
    latents = torch.tensor([1.0], requires_grad=True)
    mel = 2.0 * latents
    waveform = 3.0 * mel
    made = Generated(mel.detach(), latents=latents, mel=mel, waveform=waveform)
    terms = {"mel": 5.0 * mel.sum(), "vq": 7.0 * latents.sum(), "waveform_mel": waveform.sum()}
    weights = {"mel": 1.0, "vq": 0.5, "waveform_mel": 2.0, "adversarial": 0.1}
    heard = waveform.detach().requires_grad_()
    verdict = Verdict(heard, {"adversarial": 4.0 * heard.sum()}, heard.sum())
    assert gradient_balance(made, terms, weights, verdict) == {
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


def test_the_graph_of_the_step_is_left_for_its_own_backward_pass():
    latents = torch.tensor([1.0], requires_grad=True)
    mel = latents.square()
    terms = {"mel": mel.sum()}
    gradient_balance(Generated(mel.detach(), latents, mel=mel), terms, {"mel": 1.0})
    assert latents.grad is None
    terms["mel"].backward()
    assert latents.grad is not None


def test_seams_and_terms_that_do_not_train_are_left_out():
    mel = torch.tensor([1.0])
    waveform = torch.tensor([1.0], requires_grad=True)
    made = Generated(mel, mel=mel, waveform=waveform)
    terms = {"mel": mel.sum(), "waveform_mel": waveform.sum()}
    found = gradient_balance(made, terms, {"mel": 1.0, "waveform_mel": 1.0})
    assert found == {"waveform.waveform_mel": 1.0}
