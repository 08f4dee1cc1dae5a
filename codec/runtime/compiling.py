"""Compiled networks of a training: fewer and larger kernels, which a GPU waits for less."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch._functorch.config
from torch import nn


@contextmanager
def compiled(networks: Sequence[nn.Module], backend: str = "inductor") -> Iterator[None]:
    """Compile networks in place within a block, for each shape that they see.

    What cannot be compiled, such as an LSTM, runs as before. Names of parameters, and with them
    checkpoints, stay.

    Args:
        networks: Called as modules.
        backend: Of `torch.compile`.
    """
    # A pass of the discriminators is gone through backwards twice: first for the generator.
    with torch._functorch.config.patch(donated_buffer=False):
        for network in networks:
            network.compile(dynamic=False, backend=backend)
        try:
            yield
        finally:
            for network in networks:
                network._compiled_call_impl = None
