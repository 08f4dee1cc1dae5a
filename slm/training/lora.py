"""Low-rank adapters of a language model's matrices by `peft`, for little speech.

Each matrix W of the blocks becomes W + (alpha / rank) B A with A and B trained alone, after LoRA
(https://arxiv.org/abs/2106.09685). Merged afterwards, the model is of the same parts as before.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch

from codec.requirements import install_command
from slm.model.speech_lm import SpeechLM

from .config import LoraSettings

# Names of the linear maps of a block, attention and feed-forward.
TARGETS = ("to_q", "to_k", "to_v", "to_out", "ff.0.proj", "ff.2")


def add_lora(lm: SpeechLM, settings: LoraSettings, seed: int = 0) -> None:
    """Put adapters beside the matrices of all blocks, in place; everything else is frozen.

    At the start they add nothing.

    Args:
        lm: The model.
        settings: With a rank of at least 1.
        seed: Of the adapters' first weights.

    Raises:
        ValueError: `peft` is not installed.
    """
    try:
        peft = import_module("peft")
    except ImportError as error:
        raise ValueError(f"lora: expected the package peft: {install_command('peft')}") from error
    torch.manual_seed(seed)
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(TARGETS),
    )
    peft.inject_adapter_in_model(config, lm)


@torch.no_grad()
def merge_lora(lm: SpeechLM) -> None:
    """Add the adapters to their matrices and take them out, in place; all is trainable again."""
    kind = import_module("peft.tuners.tuners_utils").BaseTunerLayer
    for name, layer in list(lm.named_modules()):
        if not isinstance(layer, kind):
            continue
        adapter: Any = layer
        adapter.merge()
        parent, _, own = name.rpartition(".")
        setattr(lm.get_submodule(parent), own, adapter.get_base_layer())
    for parameter in lm.parameters():
        parameter.requires_grad_(True)
