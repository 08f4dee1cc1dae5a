"""Checkpoints of a phase: the description of its data, and the checks before one is continued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from codec.audio.sources import AudioSource
from codec.audio.store import AudioStore
from codec.checks import require
from codec.files import read_json, write_json
from codec.files.json_lines import read_json_lines
from codec.runtime.checkpoint_file import check_described, read_checkpoint
from codec.runtime.finite import first_not_finite

from .config import PerturbationConfig
from .data import CropBatches

CHECKPOINT, METRICS = "last.ckpt", "metrics.jsonl"
DATA = "data"  # key of `describe_batches` in a checkpoint
PRECISION = "precision"  # key of Lightning's name of the precision in a checkpoint
# The description beside the checkpoint, written after the first one: where it lies alone, the
# checkpoint was lost.
NOTE = "checkpoint.json"
# What of a row decides its part in the batches.
_FIELDS = "id", "audio", "num_samples", "gain"


def describe_batches(batches: CropBatches) -> dict[str, Any]:
    """Everything that decides the crops of a step, by names that a user knows; JSON-able."""
    return {
        "seed": batches.seed,
        "batch_size": batches.batch_size,
        "crop_samples": batches.crop_samples,
        "speed": batches.speed,
        # None where nothing is perturbed, which is also what earlier checkpoints have.
        "perturbation": _changes(batches.perturbation),
        "shares": list(batches.shares),
        "sources": [source_digest(source) for source in batches.sources],
    }


def _changes(perturbation: PerturbationConfig) -> dict[str, Any] | None:
    """The settings of a perturbation that changes something, as JSON has them."""
    if not (perturbation.changes_recordings or perturbation.changes_inputs):
        return None
    return json.loads(json.dumps(asdict(perturbation)))


def source_digest(source: AudioSource) -> str:
    """Digest of a source of clips, wherever it lies: 16 hex digits.

    Made of the clips' names, lengths and levels, and of some of the samples of an `AudioStore`.
    """
    digest = hashlib.sha256(str(source.sample_rate).encode())
    for row in source.rows:
        about = {name: row[name] for name in _FIELDS if name in row}
        digest.update(json.dumps(about, sort_keys=True).encode())
    if isinstance(source, AudioStore):
        digest.update(source.some_samples())
    return digest.hexdigest()[:16]


def checkpoint_to_resume(folder: Path, described: dict[str, Any]) -> Path | None:
    """The checkpoint that a phase continues, None for one that begins.

    Args:
        folder: Of the phase.
        described: `describe_batches` of its data.

    Raises:
        ValueError: The checkpoint is damaged, was trained on other batches or holds weights that
            are not finite, or the folder had one that is lost.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        check_not_lost(folder)
        return None
    checkpoint = read_checkpoint(path, required=("state_dict", "global_step"))
    parts = "clips, seed and batches"
    check_described(path, checkpoint.get(DATA), described, what="data", parts=parts)
    wrong = first_not_finite(checkpoint["state_dict"].items())
    require(wrong is None, str(path), "finite weights; train in another folder", wrong)
    return path


def begun_precision(path: Path | None) -> str | None:
    """The precision that a checkpoint was trained in, None for one that does not say."""
    if path is None:
        return None
    return read_checkpoint(path).get(PRECISION)


def check_not_lost(folder: Path) -> None:
    """Refuse a phase whose checkpoint is gone: to begin anew would hide that.

    Raises:
        ValueError: There was a checkpoint, and there is none.
    """
    path, note = folder / CHECKPOINT, folder / NOTE
    if path.is_file() or not note.is_file():
        return
    steps = [row["step"] for row in read_json_lines(folder / METRICS, torn="drop", missing_ok=True)]
    raise ValueError(
        f"expected {path}, as {note.name} states one and {METRICS} has {max(steps, default=0)} "
        f"steps, got no such file; put it back, or remove {note} to begin at step 0"
    )


def check_finished(folder: Path, sources: Sequence[AudioSource]) -> None:
    """Refuse a finished phase whose clips are not those of now, which later phases would train on.

    A phase of an earlier version has left no note of its clips.

    Raises:
        ValueError: Names the phase's folder.
    """
    note = folder / NOTE
    before = (read_json(note, required=(DATA,))[DATA] or {}) if note.is_file() else {}
    saved = before.get("sources")
    now = [source_digest(source) for source in sources]
    if saved is not None and saved != now:
        raise ValueError(
            f"{folder} was trained on other clips: expected sources {saved}, got {now}; set them "
            "back, or train in another run's folder"
        )


def note_checkpoint(folder: Path, described: dict[str, Any] | None) -> None:
    """Leave a note that there is a checkpoint, once."""
    note = folder / NOTE
    if not note.is_file() or read_json(note) != {DATA: described}:
        write_json(note, {DATA: described})
