"""What a training run leaves on disk, and what of it a resumed run takes up."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .config import SpeechLMConfig
from .model import SpeechLM

CHECKPOINT_NAME = "last.ckpt"
METRICS_NAME = "metrics.jsonl"


def _load_checkpoint(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def saved_weights(path: Path) -> dict[str, Tensor]:
    """Weights of the language model in a checkpoint, by their names in `SpeechLM`."""
    state = _load_checkpoint(path)["state_dict"]
    return {name.removeprefix("lm."): value for name, value in state.items()}


def describe_model(config: SpeechLMConfig) -> dict[str, Any]:
    """What a checkpoint says of its model: the token layout and the codec it speaks."""
    return {"vocabulary": config.vocabulary, "codec_fingerprint": config.codec_fingerprint}


def number_by_module(
    state: dict[str, Any], groups: list[dict[str, Any]], parameters: Iterable[Tensor]
) -> dict[str, Any]:
    """An optimizer's state with parameters numbered as the model lists them.

    An optimizer numbers them as its groups do, sharded training as the model does. Loading goes
    by place in the groups, so that either can continue from the second numbering.

    Args:
        state: `state_dict()` of the optimizer.
        groups: Its parameter groups, each in the model's order.
        parameters: Of the model.
    """
    places = {id(parameter): place for place, parameter in enumerate(parameters)}
    number = [places[id(parameter)] for group in groups for parameter in group["params"]]
    return {
        **state,
        "state": {number[index]: value for index, value in state["state"].items()},
        "param_groups": [
            {**group, "params": [number[index] for index in group["params"]]}
            for group in state["param_groups"]
        ],
    }


def set_batches_read(checkpoint: dict[str, Any], shares_per_step: int) -> None:
    """Let a checkpoint's count of batches be what `shares_per_step` a step would have made it.

    Lightning counts a process's batches, which depend on how many processes share a step.
    """
    read = int(checkpoint["global_step"]) * shares_per_step
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for count in (progress["total"], progress["current"]):
        count.update(dict.fromkeys(count, read))


def saved_step(path: Path, lm: SpeechLM, max_steps: int) -> int:
    """Optimizer steps a checkpoint has made; 0 without one.

    Raises:
        ValueError: It is of another model, codec or token layout, or beyond `max_steps`.
    """
    if not path.exists():
        return 0
    checkpoint = _load_checkpoint(path)
    step = int(checkpoint["global_step"])
    for name, expected in describe_model(lm.config).items():
        if checkpoint.get(name, expected) != expected:
            raise ValueError(
                f"{path} was trained with {name} {checkpoint[name]}, expected {expected}; train "
                "in another folder"
            )
    saved = {name: tuple(value.shape) for name, value in saved_weights(path).items()}
    if saved != {name: tuple(value.shape) for name, value in lm.state_dict().items()}:
        raise ValueError(f"{path} holds a model of other sizes; train in another folder")
    if step > max_steps:
        raise ValueError(f"expected at most max_steps = {max_steps} in {path}, got {step}")
    return step


def drop_metrics_after(path: Path, step: int) -> None:
    """Remove from a metrics file the lines of steps that will be made again."""
    if not path.exists():
        return
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n") and json.loads(line)["step"] <= step]
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("".join(lines), encoding="utf-8")
    os.replace(partial, path)
