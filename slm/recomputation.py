"""Activation checkpointing: activations of a block made again instead of kept."""

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute_activations(block: nn.Module) -> None:
    """Let `block` keep nothing but its inputs between the passes of training.

    Its parameters and their names stay as they are. Random numbers are drawn again as they were.
    """
    if not type(block).__name__.startswith("Recomputed"):
        block.__class__ = _recomputed(type(block))


@cache
def _recomputed(kind: type[nn.Module]) -> type[nn.Module]:
    """A subclass whose forward pass is made again in the backward pass."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        plain = kind.forward.__get__(self)
        if not (self.training and torch.is_grad_enabled()):
            return plain(*args, **kwargs)
        return checkpoint(plain, *args, use_reentrant=False, **kwargs)

    return type(f"Recomputed{kind.__name__}", (kind,), {"forward": forward})
