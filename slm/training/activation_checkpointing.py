"""Activation checkpointing: activations of a block made again instead of kept."""

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

_PLAIN: dict[type[nn.Module], type[nn.Module]] = {}  # what each recomputed class is made of


def recompute_activations(block: nn.Module) -> None:
    """Let `block` keep nothing but its inputs between the passes of training.

    Its parameters and their names stay as they are. Random numbers are drawn again as they were.
    """
    if type(block) not in _PLAIN:
        block.__class__ = _recomputed(type(block))


def keep_activations(block: nn.Module) -> None:
    """Undo `recompute_activations`."""
    if type(block) in _PLAIN:
        block.__class__ = _PLAIN[type(block)]


@cache
def _recomputed(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass whose forward pass is made again in the backward pass."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        plain = kind.forward.__get__(self)
        if not (self.training and torch.is_grad_enabled()):
            return plain(*args, **kwargs)
        return checkpoint(plain, *args, use_reentrant=False, **kwargs)

    made = type(f"Recomputed{kind.__name__}", (kind,), {"forward": forward})
    _PLAIN[made] = kind
    return made
