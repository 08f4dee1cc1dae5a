"""Exponential moving averages of a codec's weights, for validation and for the exported codec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from codec.model.hh_codec import HHCodec

PREFIX = "average."  # of parameter names in checkpoints


class WeightAverage:
    """The average of a codec's trainable parameters over training steps.

    It starts from the weights it tracks. Parameters that are frozen, and buffers (a codebook and
    its statistics), are not averaged: they are the codec's own. The decay grows from a tenth
    to `decay`, so that the first weights, which training leaves quickly, do not linger.

    Args:
        codec: Its parameters that require a gradient now are tracked.
        decay: Of a step, in [0, 1).
    """

    def __init__(self, codec: HHCodec, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        trained = {name: p for name, p in codec.named_parameters() if p.requires_grad}
        self._averages = {name: p.detach().clone() for name, p in trained.items()}

    @torch.no_grad()
    def update(self, codec: HHCodec) -> None:
        """Average the weights after a step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (9.0 + self.steps))  # 0.1 at the first step
        weights = self._tracked(codec)
        for name, value in weights.items():
            # a restored average is on the CPU
            self._averages[name] = self._averages[name].to(value.device)
        # In few launches: a GPU would wait for one a parameter.
        lerp = torch._foreach_lerp_  # pyright: ignore[reportPrivateImportUsage]
        lerp(list(self._averages.values()), list(weights.values()), 1.0 - decay)

    def restart(self, codec: HHCodec, prefix: str) -> None:
        """Set averages below `prefix` to the weights: those were set anew, not trained."""
        weights = self._tracked(codec)
        self._averages |= {k: v.clone() for k, v in weights.items() if k.startswith(prefix)}

    @contextmanager
    def applied(self, codec: HHCodec) -> Iterator[None]:
        """Give the codec its averaged weights within a block, and its own afterwards."""
        own = {name: value.clone() for name, value in self._tracked(codec).items()}
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
        return {"steps": self.steps, **{f"{PREFIX}{k}": v for k, v in self._averages.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor | int]) -> None:
        """Restore a checkpoint's averages.

        Raises:
            ValueError: They are of other parameters than those tracked.
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

    def _tracked(self, codec: HHCodec) -> dict[str, Tensor]:
        """The codec's own weights that are averaged, without gradient."""
        parameters = dict(codec.named_parameters())
        return {name: parameters[name].detach() for name in self._averages}


def averages_of(state: Mapping[str, Tensor | int]) -> dict[str, Tensor]:
    """The averaged weights in a `WeightAverage.state_dict`, by parameter name."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    return {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}


def load_averages(
    codec: HHCodec, state: Mapping[str, Tensor | int], parts: tuple[str, ...]
) -> None:
    """Give some parts of a codec the averaged weights in a `WeightAverage.state_dict`."""
    averages = averages_of(state)
    _copy({k: v for k, v in averages.items() if k.split(".")[0] in parts}, codec)


@torch.no_grad()
def _copy(weights: Mapping[str, Tensor], codec: HHCodec) -> None:
    """Copy weights into a codec in place, modes and optimizer state untouched."""
    parameters = dict(codec.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)
    codec.weights_changed()
