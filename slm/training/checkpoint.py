"""Checkpoints of training runs: their contents, and the checks before one is continued.

A position in the data is one integer, so it means the same batch only to a run with the same rows,
packed by the same settings and counted by the same steps: its "stream".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from codec.files.json_lines import read_json_lines
from codec.runtime.checkpoint_file import check_described, read_checkpoint
from codec.runtime.finite import first_not_finite
from slm.data.config import DocumentSettings
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM

from .config import TrainingSettings

CHECKPOINT_NAME = "last.ckpt"
METRICS_NAME = "metrics.jsonl"
BF16 = "bf16"  # key of whether products were of bfloat16
STREAM = "stream"  # key of `describe_stream` in a checkpoint
ROW_COUNTS = "row_counts"  # key of the rows of the epochs so far: spares planning them again


def describe_model(config: SpeechLMConfig) -> dict[str, Any]:
    """A model's identity in a checkpoint: its token layout and the codec of its codes."""
    return {"vocabulary": config.vocabulary, "codec_fingerprint": config.codec_fingerprint}


def describe_stream(rows: dict[str, Any], settings: TrainingSettings) -> dict[str, Any]:
    """`PackedDataset.describe` with what decides the batches of a step and its random numbers."""
    return {**rows, "accumulate": settings.accumulate, "seed of the training": settings.seed}


def check_stream(path: Path, saved: dict[str, Any] | None, expected: dict[str, Any]) -> None:
    """Compare the stream of a run with that of the checkpoint at `path`, which it continues.

    A checkpoint older than such descriptions has none: then a warning is all.

    Raises:
        ValueError: They differ; every difference is named.
    """
    if saved is not None:
        # A setting that came later was its default before.
        documents = asdict(DocumentSettings())
        saved = {f"documents.{name}": value for name, value in documents.items()} | saved
    parts = "seeds, sizes, settings and token stores"
    check_described(path, saved, expected, what="batches", parts=parts)


def number_by_module(
    state: dict[str, Any], groups: list[dict[str, Any]], parameters: Iterable[Tensor]
) -> dict[str, Any]:
    """An optimizer's state with parameters numbered as the model lists them.

    An optimizer numbers them as its groups do, sharded training as the model does. Loading goes
    by position in the groups, so that either can continue from the second numbering.
    """
    own = {id(parameter): number for number, parameter in enumerate(parameters)}
    number = [own[id(parameter)] for group in groups for parameter in group["params"]]
    return {
        **state,
        "state": {number[index]: value for index, value in state["state"].items()},
        "param_groups": [
            {**group, "params": [number[index] for index in group["params"]]}
            for group in state["param_groups"]
        ],
    }


def set_batches_read(checkpoint: dict[str, Any], per_step: int) -> None:
    """Let a checkpoint's count of batches be what `per_step` of them a step would have made it.

    Lightning counts a process's batches, which depend on how many processes share a step.
    """
    # Lightning has no public name for these counts.
    read = int(checkpoint["global_step"]) * per_step
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for count in (progress["total"], progress["current"]):
        count.update(dict.fromkeys(count, read))


def checkpoint_to_resume(folder: Path, resume_from: Path | None) -> Path | None:
    """The checkpoint that a run continues: its folder's, else `resume_from`, else None.

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
    if resume_from is not None:
        return resume_from
    rows = read_json_lines(metrics, torn="drop", missing_ok=True)
    # The first step is written down before its checkpoint: alone, it is of a run that was cut off
    # in between, and is made again. Of more steps one was lost, and to begin anew would hide that.
    made = len(rows)
    if made and [row["step"] for row in rows] != [1]:
        raise ValueError(
            f"expected {own}, as {metrics} has {made} steps, got no such file; name another "
            f"checkpoint as resume_from, or remove {METRICS_NAME} to begin at step 0"
        )
    return None


def resume_point(
    path: Path | None, lm: SpeechLM, stream: dict[str, Any], max_steps: int
) -> tuple[int, list[int]]:
    """Steps a checkpoint has made, and rows of the epochs it had planned; (0, []) without one.

    Raises:
        ValueError: It is damaged, of another model, codec, token layout or stream of batches, lacks
            its layout, has weights that are not finite, or is beyond `max_steps`.
    """
    if path is None:
        return 0, []
    checkpoint = _load_checkpoint(path)
    step = int(checkpoint["global_step"])
    # Sizes may agree where the meaning of tokens does not.
    for name, expected in describe_model(lm.config).items():
        found = checkpoint.get(name, "none, as in early versions")
        if found != expected:
            raise ValueError(
                f"{path} was trained with {name} {found}, expected {expected}; train in another "
                "folder"
            )
    sizes = {name: value.shape for name, value in _weights(checkpoint).items()}
    if sizes != {name: value.shape for name, value in lm.state_dict().items()}:
        raise ValueError(f"{path} holds a model of other sizes; train in another folder")
    check_stream(path, checkpoint.get(STREAM), stream)
    wrong = first_not_finite(checkpoint["state_dict"].items())
    if wrong is not None:
        raise ValueError(
            f"{path}: expected finite weights, got others in {wrong}; name an earlier checkpoint "
            "as resume_from in another folder, or begin anew there"
        )
    if step > max_steps:
        raise ValueError(f"expected at most max_steps = {max_steps} in {path}, got {step}")
    return step, [int(count) for count in checkpoint.get(ROW_COUNTS, [])]


def begun_bf16(path: Path | None) -> bool | None:
    """True if a checkpoint was trained under bfloat16, None for one that does not say."""
    return None if path is None else _load_checkpoint(path).get(BF16)


def saved_weights(path: Path) -> dict[str, Tensor]:
    """Weights of the language model in a checkpoint, by their names in `SpeechLM`."""
    return _weights(_load_checkpoint(path))


def _load_checkpoint(path: Path) -> dict[str, Any]:
    return read_checkpoint(path, required=("state_dict", "global_step"))


def _weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    state = checkpoint["state_dict"]
    return {name.removeprefix("lm."): value for name, value in state.items()}
