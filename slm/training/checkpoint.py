"""What a training run leaves on disk, and what of it a resumed run takes up."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slm.data.provenance import ROW_COUNTS, STREAM, check_stream
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM

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


def checkpoint_to_resume(folder: Path, resume_from: Path | None) -> Path | None:
    """The checkpoint that a run continues: its own, else `resume_from`, else None.

    Args:
        folder: Of the run.
        resume_from: Where the run begins when it has no checkpoint of its own; must be there.

    Raises:
        ValueError: `resume_from` is no file, or the folder's metrics have steps and there is no
            checkpoint to go on from.
    """
    if resume_from is not None and not resume_from.is_file():
        raise ValueError(f"expected a checkpoint at resume_from = {resume_from}, got no file there")
    own = folder / CHECKPOINT_NAME
    if own.exists():
        return own
    metrics = folder / METRICS_NAME
    made = 0 if resume_from is not None else len(_metrics_lines(metrics))
    if made:
        raise ValueError(
            f"expected {own}, as {metrics} has {made} steps, got no such file; name another "
            f"checkpoint as resume_from, or remove {METRICS_NAME} to begin at step 0"
        )
    return resume_from


def saved_step(path: Path | None, lm: SpeechLM, stream: dict[str, Any], max_steps: int) -> int:
    """Optimizer steps a checkpoint has made; 0 without one.

    Args:
        path: Of the checkpoint.
        lm: The model to be trained.
        stream: `describe_stream` of the run.
        max_steps: Of the run.

    Raises:
        ValueError: It is of another model, codec, token layout or stream of batches, does not say
            its layout, or is beyond `max_steps`.
    """
    if path is None:
        return 0
    checkpoint = _load_checkpoint(path)
    step = int(checkpoint["global_step"])
    for name, expected in describe_model(lm.config).items():
        if name not in checkpoint:
            raise ValueError(
                f"expected a checkpoint that says its {name}, got {path} of an early version "
                "that does not; train in another folder"
            )
        if checkpoint[name] != expected:
            raise ValueError(
                f"{path} was trained with {name} {checkpoint[name]}, expected {expected}; train "
                "in another folder"
            )
    saved = {name: tuple(value.shape) for name, value in saved_weights(path).items()}
    if saved != {name: tuple(value.shape) for name, value in lm.state_dict().items()}:
        raise ValueError(f"{path} holds a model of other sizes; train in another folder")
    check_stream(path, checkpoint.get(STREAM), stream)
    if step > max_steps:
        raise ValueError(f"expected at most max_steps = {max_steps} in {path}, got {step}")
    return step


def saved_row_counts(path: Path) -> list[int]:
    """Rows of the epochs that a run had planned, none of a checkpoint that does not say them."""
    return [int(count) for count in _load_checkpoint(path).get(ROW_COUNTS, [])]


def _metrics_lines(path: Path) -> list[str]:
    """Whole lines of a metrics file."""
    if not path.exists():
        return []
    with open(path, encoding="utf-8") as file:
        return [line for line in file if line.endswith("\n")]


def drop_metrics_after(path: Path, step: int) -> None:
    """Remove from a metrics file the lines of steps that will be made again."""
    if not path.exists():
        return
    lines = [line for line in _metrics_lines(path) if json.loads(line)["step"] <= step]
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text("".join(lines), encoding="utf-8")
    os.replace(partial, path)
