"""Identity of training data: digests of token stores and alignments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from .alignment import Alignment
from .shards import read_marker
from .token_store import TokenStore


def store_digest(store: TokenStore) -> str:
    """Digest of what a token store holds, wherever it lies: 16 hex digits.

    Made of the checksums in the shards' markers; of a shard without one its sizes alone.
    """
    digest = hashlib.sha256(store.codec_fingerprint.encode())
    for index, sizes in enumerate(store.shard_sizes):
        # Sizes of shards without a marker, which an earlier version wrote.
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
