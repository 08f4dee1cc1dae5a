"""Which stream of batches a run reads: what a checkpoint says of it, and whether it is the same.

A place in the data is one integer, so it means the same batch only to a run with the same rows,
packed by the same settings and counted by the same steps.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slm.model.config import DocumentSettings, TrainingSettings

from .alignment import Spoken
from .shards import read_marker
from .token_store import TokenStore

STREAM = "stream"  # what a checkpoint says under describe_stream
ROW_COUNTS = "row_counts"  # rows of the epochs so far: spares planning them again


def store_digest(store: TokenStore) -> str:
    """A name of what a token store holds, wherever it lies: 16 hex digits.

    Made of the checksums in the shards' markers; of a shard without one its sizes alone.
    """
    digest = hashlib.sha256(store.codec_fingerprint.encode())
    for index, sizes in enumerate(store.shard_sizes):
        sums = (read_marker(store.folder, index) or {}).get("sha256")
        digest.update(json.dumps([sizes, sums], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def alignments_digest(alignments: Mapping[str, Spoken] | None) -> str:
    """A name of alignments by id: 16 hex digits, nothing without any."""
    if alignments is None:
        return ""
    digest = hashlib.sha256()
    for name in sorted(alignments):
        spoken = alignments[name]
        about = [name, list(map(int, spoken.units)), list(map(int, spoken.counts))]
        digest.update(json.dumps(about).encode())
    return digest.hexdigest()[:16]


def describe_rows(
    stores: Sequence[TokenStore],
    settings: DocumentSettings,
    *,
    alignments: str,
    seq_len: int,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """What decides which batches there are, by names that a user knows; JSON-able.

    Args:
        stores: Of the documents, in their order.
        settings: Of the documents.
        alignments: Their `alignments_digest`.
        seq_len: Tokens of a row.
        batch_size: Rows of a batch.
        seed: Of prompts, order and packing.
    """
    return {
        "seq_len": seq_len,
        "batch_size": batch_size,
        "seed of the rows": seed,
        "token stores": [store_digest(store) for store in stores],
        "alignments": alignments,
        **{f"documents.{name}": value for name, value in asdict(settings).items()},
    }


def describe_stream(rows: dict[str, Any], settings: TrainingSettings) -> dict[str, Any]:
    """The same with what decides which batches a step reads, and with which random numbers."""
    return {**rows, "accumulate": settings.accumulate, "seed of the training": settings.seed}


def check_stream(path: Path, saved: dict[str, Any] | None, expected: dict[str, Any]) -> None:
    """Compare a run's stream with that of the checkpoint it continues.

    Args:
        path: Of the checkpoint.
        saved: What it says, None where it is older than this description: then a warning is all.
        expected: `describe_stream` of the run.

    Raises:
        ValueError: They differ; every difference is named.
    """
    if saved is None:
        warnings.warn(
            f"{path} is of an earlier version and does not say which batches it was trained on: "
            "whether seeds, sizes, settings and token stores are those of before is not checked",
            stacklevel=2,
        )
        return
    # A setting that came later was its default before.
    before = {f"documents.{n}": value for n, value in asdict(DocumentSettings()).items()} | saved
    differences = [
        f"{name} {before.get(name)}, got {value}"
        for name, value in expected.items()
        if before.get(name) != value
    ]
    if differences:
        raise ValueError(
            f"{path} was trained on other batches: expected {'; '.join(differences)}; set them "
            "back, or train in another folder"
        )
