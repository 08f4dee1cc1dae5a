"""Which stream of batches a run reads: what a checkpoint says of it, and whether it is the same.

A place in the data is one integer, so it means the same batch only to a run with the same rows,
packed by the same settings and counted by the same steps.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .alignment import Alignment
from .config import DocumentSettings
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


def alignments_digest(alignments: Mapping[str, Alignment] | None) -> str:
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
