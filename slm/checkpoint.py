"""What a training run leaves on disk, and what of it a resumed run takes up."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

CHECKPOINT_NAME = "last.ckpt"
METRICS_NAME = "metrics.jsonl"


def _load_checkpoint(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def saved_weights(path: Path) -> dict[str, Tensor]:
    """Weights of the language model in a checkpoint, by their names in `SpeechLM`."""
    state = _load_checkpoint(path)["state_dict"]
    return {name.removeprefix("lm."): value for name, value in state.items()}


def saved_step(path: Path, lm: nn.Module, max_steps: int) -> int:
    """Optimizer steps a checkpoint has made; 0 without one.

    Raises:
        ValueError: It is of another model, or beyond `max_steps`.
    """
    if not path.exists():
        return 0
    step = int(_load_checkpoint(path)["global_step"])
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
