"""The plan of encoding a corpus: shards of clips, batches of shards.

A shard is written at once, a batch is computed at once. Both follow from the list of clips alone,
so that it does not matter where, how often or in which order batches are computed: the shards are
the same bytes. Reading a batch is here too, so that a process that only reads loads no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from codec.error_text import message_of
from codec.runtime.workers import DEADLY

from .clips import Clip, Recording, Span


@dataclass(frozen=True)
class Shard:
    """Clips that are written together, as shard `index` of a split."""

    split: str
    index: int
    clips: tuple[Clip, ...]

    @property
    def plan(self) -> str:
        """Hash of the rows and lengths, 16 hex digits, by which a shard on disk is recognised."""
        digest = hashlib.sha256()
        for clip in self.clips:
            line = json.dumps([clip.row, clip.num_codes], sort_keys=True, ensure_ascii=True)
            digest.update(line.encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Batch:
    """Clips that a worker computes at once: positions in a shard, and their samples."""

    split: str
    shard: int
    positions: tuple[int, ...]
    sources: tuple[Span | Recording, ...]

    @property
    def name(self) -> str:
        """Name of this batch and no other of the run."""
        return f"{self.split} {self.shard} {self.positions[0]}"


@dataclass(frozen=True)
class Sound:
    """A batch as 16-bit samples (T,), None and a reason where a recording could not be read.

    The batch has lost its `sources`, to be small when it is sent.
    """

    batch: Batch
    samples: tuple[NDArray[np.int16] | None, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Coded:
    """A batch as codes.

    Attributes:
        batch: Without its `sources`.
        codes: (L,) uint16 of each clip, None where it could not be read.
        num_samples: Length of each clip in samples.
        reasons: Why a clip has no codes, '' where it has.
    """

    batch: Batch
    codes: tuple[NDArray[np.uint16] | None, ...]
    num_samples: tuple[int, ...]
    reasons: tuple[str, ...]


def plan_shards(split: str, clips: Sequence[Clip], shard_codes: int) -> list[Shard]:
    """Cut clips, in their order, after every clip with which a shard reaches `shard_codes`."""
    shards: list[Shard] = []
    taken: list[Clip] = []
    count = 0
    for clip in clips:
        taken.append(clip)
        count += clip.num_codes  # a shard may pass `shard_codes` by its last clip
        if count >= shard_codes:
            shards.append(Shard(split, len(shards), tuple(taken)))
            taken, count = [], 0
    if taken:
        shards.append(Shard(split, len(shards), tuple(taken)))
    return shards


def plan_batches(shard: Shard, batch_codes: int) -> Iterator[Batch]:
    """Yield batches of clips of like length, the longest first, of at most `batch_codes` codes.

    A clip that is longer is a batch by itself. Each clip counts as the longest of its batch, since
    shorter ones are padded to that.
    """
    # Longest first, so that little work is left when the last batch begins.
    lengths = [clip.num_codes for clip in shard.clips]
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    start = 0
    while start < len(order):
        size = max(1, batch_codes // lengths[order[start]])
        positions = tuple(order[start : start + size])
        sources = tuple(shard.clips[position].source for position in positions)
        yield Batch(shard.split, shard.index, positions, sources)
        start += size


def read_batch(batch: Batch, may_try: Callable[[int], bool] | None = None) -> Sound:
    """Read every clip of a batch; a file that cannot be read is a reason, not an error.

    Args:
        batch: To read.
        may_try: Called before each clip with its index in the batch; a clip is left out where it
            returns False.
    """
    samples: list[NDArray[np.int16] | None] = []
    reasons = []
    for index, source in enumerate(batch.sources):
        if may_try is not None and not may_try(index):
            samples.append(None)
            reasons.append(DEADLY)
            continue
        try:
            samples.append(source.read())
            reasons.append("")
        except (ValueError, OSError) as error:
            samples.append(None)
            reasons.append(message_of(error))
    # Sources are not sent on: a recording's holds its whole row.
    return Sound(replace(batch, sources=()), tuple(samples), tuple(reasons))


def clips_of(batch: Batch) -> list[Batch]:
    """Divide a batch into batches of one clip."""
    parts = zip(batch.positions, batch.sources, strict=True)
    return [replace(batch, positions=(each,), sources=(source,)) for each, source in parts]


def without(batch: Batch, reason: str) -> Coded:
    """Build the result of a batch none of whose clips could be encoded, for one reason."""
    count = len(batch.positions)
    return Coded(replace(batch, sources=()), (None,) * count, (0,) * count, (reason,) * count)


def joined(batch: Batch, parts: Sequence[Coded]) -> Coded:
    """Join the results of `clips_of` a batch."""
    codes, num_samples, reasons = zip(
        *((part.codes[0], part.num_samples[0], part.reasons[0]) for part in parts), strict=True
    )
    return Coded(replace(batch, sources=()), codes, num_samples, reasons)
