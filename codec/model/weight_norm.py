"""Removal of weight norm, for inference."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

# names of the parametrization's tensors in a state dict
MAGNITUDE = "parametrizations.weight.original0"
DIRECTION = "parametrizations.weight.original1"


def weight_normed(module: nn.Module) -> list[nn.Module]:
    """List the modules inside, itself included, whose `weight` is weight-normed."""
    return [each for each in module.modules() if parametrize.is_parametrized(each, "weight")]


def remove_weight_norm(module: nn.Module) -> int:
    """Replace every weight-normed `weight` by the tensor that it evaluates to, in place.

    The outputs are the same bit for bit on the device that it is done on: the convolution receives
    the very values that the parametrization computes in every pass. Gradients no longer reach
    magnitude and direction, and a state dict holds `weight` in place of the two.

    Returns:
        The number of weights that had weight norm.
    """
    found = weight_normed(module)
    for each in found:
        parametrize.remove_parametrizations(each, "weight", leave_parametrized=True)
    return len(found)


def count_parameters(module: nn.Module, *, weight_norm: bool = True) -> int:
    """Count the trainable values of a module, or those that remain after `remove_weight_norm`."""
    count = sum(value.numel() for value in module.parameters())
    if weight_norm:
        return count
    return count - sum(each.get_parameter(MAGNITUDE).numel() for each in weight_normed(module))
