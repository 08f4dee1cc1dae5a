"""Exponential moving averages of a codec's weights, for validation and for what is exported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from codec.model.hh_codec import HHCodec


class WeightAverage:
    """The average of a codec's trainable parameters over training steps.

    It starts from the weights it tracks. Parameters that are frozen, and buffers (a codebook and
    its statistics), are not averaged: they are what the codec has. The decay grows from a tenth
    to `decay`, so that the first weights, which training leaves quickly, do not linger.

    Args:
        codec: whose parameters are tracked, those that require a gradient now.
        decay: in [0, 1), a step.
    """

    def __init__(self, codec: HHCodec, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self._averages = {
            name: value.detach().clone()
            for name, value in codec.named_parameters()
            if value.requires_grad
        }

    @torch.no_grad()
    def update(self, codec: HHCodec) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (9.0 + self.steps))
        for name, value in self._tracked(codec):
            self._averages[name] = self._averages[name].to(value.device).lerp_(value, 1.0 - decay)

    @torch.no_grad()
    def restart(self, codec: HHCodec, prefix: str) -> None:
        """Forget the averages below `prefix`: those weights were set anew, not trained."""
        for name, value in self._tracked(codec):
            if name.startswith(prefix):
                self._averages[name] = value.detach().clone()

    @contextmanager
    def applied(self, codec: HHCodec) -> Iterator[None]:
        """The codec with averaged weights, its own put back afterwards."""
        own = {name: value.detach().clone() for name, value in self._tracked(codec)}
        self.copy_to(codec)
        try:
            yield
        finally:
            _copy(own, codec)

    def copy_to(self, codec: HHCodec) -> None:
        """Give a codec the averaged weights."""
        _copy(self._averages, codec)

    def state_dict(self) -> dict[str, Tensor | int]:
        """Averages by parameter name, and `steps`, for a checkpoint."""
        return {"steps": self.steps, **{f"average.{k}": v for k, v in self._averages.items()}}

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Take up a checkpoint's averages.

        Raises:
            ValueError: they are of other parameters than those tracked.
        """
        averages = averages_of(state)
        if averages.keys() != self._averages.keys():
            different = sorted(averages.keys() ^ self._averages.keys())
            raise ValueError(
                f"expected averages of {len(self._averages)} parameters, got {len(averages)}; "
                f"they differ in {different[:3]}"
            )
        self.steps = int(state["steps"])
        self._averages = {name: value.clone() for name, value in averages.items()}

    def _tracked(self, codec: HHCodec) -> Iterator[tuple[str, Tensor]]:
        parameters = dict(codec.named_parameters())
        return ((name, parameters[name]) for name in self._averages)


def averages_of(state: dict[str, Tensor | int]) -> dict[str, Tensor]:
    """The averaged weights in `WeightAverage.state_dict`'s answer, by parameter name."""
    prefix = "average."
    return {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if name.startswith(prefix) and isinstance(value, Tensor)
    }


def load_averages(codec: HHCodec, state: dict[str, Tensor | int], parts: tuple[str, ...]) -> None:
    """Give some parts of a codec the averaged weights of `WeightAverage.state_dict`'s answer."""
    averages = averages_of(state)
    _copy({k: v for k, v in averages.items() if k.split(".")[0] in parts}, codec)


@torch.no_grad()
def _copy(weights: dict[str, Tensor], codec: HHCodec) -> None:
    """Copy weights into a codec in place, modes and optimizer state untouched."""
    parameters = dict(codec.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)
    codec.weights_changed()
