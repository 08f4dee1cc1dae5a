import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from slm.model.loss import mean_nll, token_nll

COUNT, DIM, ENTRIES = 23, 8, 31


def given() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(COUNT, DIM, requires_grad=True)
    weight = torch.randn(ENTRIES, DIM, requires_grad=True)
    scales = torch.rand(COUNT)
    return hidden, weight, torch.randint(0, ENTRIES, (COUNT,)), scales / scales.sum()


def expected(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ weight.T, targets, reduction="none")


@pytest.mark.parametrize("chunk", [1, 7, COUNT, 100])
def test_each_token_has_the_value_and_gradients_of_the_loss_at_once(chunk: int) -> None:
    hidden, weight, targets, scales = given()
    whole = expected(hidden, weight, targets)
    wanted = torch.autograd.grad(whole, (hidden, weight), scales)
    nll = token_nll(hidden, weight, targets, chunk)
    torch.testing.assert_close(nll, whole)
    torch.testing.assert_close(torch.autograd.grad(nll, (hidden, weight), scales), wanted)


@pytest.mark.parametrize("chunk", [1, 7, COUNT, 100])
def test_the_mean_has_the_value_and_gradients_of_the_loss_at_once(chunk: int) -> None:
    hidden, weight, targets, scales = given()
    whole = 3 * (expected(hidden, weight, targets) * scales).sum()
    wanted = torch.autograd.grad(whole, (hidden, weight))
    mean = 3 * mean_nll(hidden, weight, targets, scales, chunk)
    torch.testing.assert_close(mean, whole)
    torch.testing.assert_close(torch.autograd.grad(mean, (hidden, weight)), wanted)


def test_gradients_agree_with_finite_differences() -> None:
    hidden, weight, targets, scales = given()
    wide = [x.detach().double().requires_grad_() for x in (hidden[:4], weight)]

    def loss(h: Tensor, w: Tensor) -> Tensor:
        return mean_nll(h, w, targets[:4], scales[:4], 3)

    # The logits are float32 whatever comes in, hence the wide step.
    assert torch.autograd.gradcheck(loss, wide, eps=1e-2, atol=1e-3, rtol=1e-2)


def test_the_loss_of_no_token_is_zero_and_has_gradients() -> None:
    hidden, weight, targets, scales = given()
    none = mean_nll(hidden[:0], weight, targets[:0], scales[:0])
    none.backward()
    assert none == 0
    assert torch.equal(weight.grad if weight.grad is not None else weight, torch.zeros_like(weight))


@pytest.mark.parametrize("with_gradients", [True, False])
def test_a_bfloat16_model_loses_no_precision_in_the_loss(with_gradients: bool) -> None:
    hidden, weight, targets, scales = given()
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(with_gradients):
        mean = mean_nll(hidden, weight, targets, scales, 7)
        logits = F.linear(hidden, weight)
    assert logits.dtype == torch.bfloat16
    assert mean.dtype == torch.float32
    wanted = F.cross_entropy(logits.float(), targets, reduction="none") @ scales
    torch.testing.assert_close(mean, wanted, atol=1e-6, rtol=1e-6)
    if with_gradients:
        mean.backward()
        assert hidden.grad is not None
        assert weight.grad is not None
        assert hidden.grad.dtype == weight.grad.dtype == torch.float32


def test_no_step_holds_the_logits_of_all_tokens() -> None:
    """The largest tensor that either pass makes is a chunk of logits or a gradient of an input."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for each in out if isinstance(out, tuple | list) else [out]:
                if isinstance(each, Tensor):
                    largest = max(largest, each.numel())
            return out

    hidden, weight, targets, scales = given()
    with Watch():
        mean_nll(hidden, weight, targets, scales, 4).backward()
        token_nll(hidden, weight, targets, 4).sum().backward()
    assert largest == max(4 * ENTRIES, hidden.numel(), weight.numel())
    assert largest < COUNT * ENTRIES
