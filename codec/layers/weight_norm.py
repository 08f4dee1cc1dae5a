"""Removal of weight norm, for inference, and what is kept of it, for saving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

# names of the parametrization's tensors in a state dict
MAGNITUDE = "parametrizations.weight.original0"
DIRECTION = "parametrizations.weight.original1"


@dataclass(frozen=True)
class FoldedWeight:
    """Magnitude and direction, on the CPU, of a weight that was folded.

    Attributes:
        magnitude: One number an output channel.
        direction: Of the weight's shape.
        dim: The channels' dimension.
        device: On which the weight was computed: another one may round differently.
    """

    magnitude: Tensor
    direction: Tensor
    dim: int
    device: torch.device

    def split(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Split a weight into magnitude and direction, those from before where it is unchanged."""
        before = self.direction.to(self.device), self.magnitude.to(self.device)
        folded = torch._weight_norm(*before, self.dim)  # type: ignore[attr-defined]
        folded = folded.to(weight.dtype)
        if torch.equal(folded.cpu(), weight.detach().cpu()):
            return self.magnitude.to(weight.dtype), self.direction.to(weight.dtype)
        changed = weight.detach().cpu()
        return torch.norm_except_dim(changed.float(), 2, self.dim).to(weight.dtype), changed


def weight_normed(module: nn.Module) -> list[nn.Module]:
    """List the modules inside, itself included, whose `weight` is weight-normed."""
    return [each for each in module.modules() if parametrize.is_parametrized(each, "weight")]


def fold_weight_norm(module: nn.Module) -> dict[str, FoldedWeight]:
    """Fold every weight norm inside as `remove_weight_norm` does; by module what it was made of."""
    found: dict[str, FoldedWeight] = {}
    for name, each in module.named_modules():
        if parametrize.is_parametrized(each, "weight"):
            magnitude, direction = each.get_parameter(MAGNITUDE), each.get_parameter(DIRECTION)
            dim = each.get_submodule("parametrizations.weight.0").dim
            kept = magnitude.detach().cpu(), direction.detach().cpu()
            found[name] = FoldedWeight(*kept, int(dim), direction.device)  # type: ignore[arg-type]
    remove_weight_norm(module)
    return found


def unfolded_state(module: nn.Module, folded: dict[str, FoldedWeight]) -> dict[str, Tensor]:
    """Collect a state dict with the weight norm that was folded, under the names of before.

    Args:
        module: Folded.
        folded: Result of `fold_weight_norm`.
    """
    tensors = dict(module.state_dict())
    for name, weight in folded.items():
        magnitude, direction = weight.split(tensors.pop(f"{name}.weight"))
        tensors[f"{name}.{MAGNITUDE}"], tensors[f"{name}.{DIRECTION}"] = magnitude, direction
    return tensors


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
        kind: Any = type(each)
        computed = vars(kind)["weight"]  # a property
        parametrize.remove_parametrizations(each, "weight", leave_parametrized=True)
        # torch has taken it off the class, which deep copies share with their original.
        kind.weight = computed
    return len(found)


def count_parameters(module: nn.Module, *, weight_norm: bool = True) -> int:
    """Count the trainable values of a module, or those that remain after `remove_weight_norm`."""
    count = sum(value.numel() for value in module.parameters())
    if weight_norm:
        return count
    return count - sum(each.get_parameter(MAGNITUDE).numel() for each in weight_normed(module))
