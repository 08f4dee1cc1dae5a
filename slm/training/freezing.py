"""Parts of a language model that stay as they are while the rest is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from codec.checks import require
from slm.model.attention import Attention
from slm.model.speech_lm import SpeechLM

from .config import TrainingSettings


@contextmanager
def frozen(lm: SpeechLM, settings: TrainingSettings) -> Iterator[None]:
    """Freeze what the settings name inside the block; all is as it was before afterwards.

    Frozen parameters get no gradient, so that optimizers, weight decay included, leave them alone.

    Raises:
        ValueError: Nothing would be left to train.
    """
    kept = [parameter for parameter in frozen_parameters(lm, settings) if parameter.requires_grad]
    for parameter in kept:
        parameter.requires_grad_(False)
    try:
        trained = any(parameter.requires_grad for parameter in lm.parameters())
        require(trained, "freeze", "something left to train", settings.freeze)
        yield
    finally:
        for parameter in kept:
            parameter.requires_grad_(True)


def frozen_parameters(lm: SpeechLM, settings: TrainingSettings) -> list[nn.Parameter]:
    """Parameters of the parts and layers that the settings freeze, in no particular order."""
    modules: list[nn.Module] = list(lm.blocks[: 2 * settings.freeze_layers])
    if "embedding" in settings.freeze:
        modules.append(lm.embedding)
    if "head" in settings.freeze:
        modules.append(lm.head)
    for branch in lm.blocks:
        # A branch is a norm and a block, attention or feed-forward.
        norm, block = branch[0], branch[1]
        kind = "attention" if isinstance(block, Attention) else "feed_forward"
        modules += [block] if kind in settings.freeze else []
        modules += [norm] if "norms" in settings.freeze else []
    if "norms" in settings.freeze:
        modules.append(lm.decoder.final_norm)
    return [parameter for module in modules for parameter in module.parameters()]
