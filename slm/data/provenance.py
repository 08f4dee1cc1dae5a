"""Identity of training data: digests of stores and alignments, and what decides the batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from .alignment import Alignment
from .config import DocumentSettings
from .shards import read_marker
from .token_store import TokenStore


def store_digest(store: TokenStore) -> str:
    """Digest of what a token store holds, wherever it lies: 16 hex digits.

    Made of the checksums in the shards' markers; of a shard without one its sizes alone.
    """
    digest = hashlib.sha256(store.codec_fingerprint.encode())
    for index, sizes in enumerate(store.shard_sizes):
        sums = (read_marker(store.folder, index) or {}).get("sha256")
        digest.update(json.dumps([sizes, sums], sort_keys=True).encode())
    return digest.hexdigest()[:16]


def alignments_digest(alignments: Mapping[str, Alignment] | None) -> str:
    """Digest of alignments by id: 16 hex digits, "" without any."""
    if alignments is None:
        return ""
    digest = hashlib.sha256()
    for name in sorted(alignments):
        units, counts = alignments[name]
        about = [name, list(map(int, units)), list(map(int, counts))]
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
    """Everything that decides the batches, by names that a user knows; JSON-able.

    Args:
        stores: In their order.
        settings: Of the documents.
        alignments: `alignments_digest` of the rows.
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
