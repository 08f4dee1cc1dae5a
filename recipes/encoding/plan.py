"""What a corpus is cut into before any of it is encoded: clips, shards of clips, batches of shards.

A shard is what the token store writes at once, a batch what a worker computes at once. Both follow
from the list of clips alone, so that it does not matter where, how often or in which order batches
are computed: the shards are the same bytes. Reading a batch is here too, so that a process that
only reads loads no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.audio.store import SAMPLES, AudioStore
from recipes.corpora.manifest import CorpusRow
from recipes.prepare import store_row
from recipes.runner.config import Config
from recipes.runner.workers import DEADLY

from .encode_sources import Recording, Span


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip to encode: what the store keeps of it, where it is, how many codes it should have.

    The number of codes is exact for prepared clips; for recordings it follows from the duration
    that the manifest states.
    """

    row: dict[str, Any]
    source: Span | Recording
    num_codes: int


@dataclass(frozen=True)
class Shard:
    """Clips that are written together, as shard `index` of a split."""

    split: str
    index: int
    clips: tuple[Clip, ...]

    @property
    def plan(self) -> str:
        """Hash of the rows and lengths, 16 hex digits: the shard on disk is of this very plan."""
        digest = hashlib.sha256()
        for clip in self.clips:
            line = json.dumps([clip.row, clip.num_codes], sort_keys=True, ensure_ascii=True)
            digest.update(line.encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Batch:
    """Clips that a worker computes at once.

    Attributes:
        split: of the shard they belong to.
        shard: its index.
        positions: of the clips in that shard.
        sources: where they are.
    """

    split: str
    shard: int
    positions: tuple[int, ...]
    sources: tuple[Span | Recording, ...]

    @property
    def name(self) -> str:
        """Of this batch and no other of the run."""
        return f"{self.split} {self.shard} {self.positions[0]}"


@dataclass(frozen=True)
class Sound:
    """A batch as 16-bit samples (T,), None and a reason where a recording could not be read.

    The batch no longer says where they are from.
    """

    batch: Batch
    samples: tuple[NDArray[np.int16] | None, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Coded:
    """A batch as codes.

    Attributes:
        batch: which.
        codes: (L,) uint16 of each clip, None where it could not be read.
        num_samples: that they are of.
        reasons: why there are none, '' where there are.
    """

    batch: Batch
    codes: tuple[NDArray[np.uint16] | None, ...]
    num_samples: tuple[int, ...]
    reasons: tuple[str, ...]


def prepared_clips(
    folder: Path, hop_length: int, shifts: Sequence[int], select: Mapping[str, Any]
) -> list[Clip]:
    """The clips of a prepared split, in its order, each followed by its shifted copies.

    Args:
        folder: Of the split's `AudioStore`.
        hop_length: Samples a code.
        shifts: Samples; clips are encoded again from each of them on, as `<id>+<shift>` with the
            `shift` and the `base_id` in the row.
        select: Fields that a row must have to be encoded again.
    """
    clips = []
    for row in AudioStore(folder).rows:
        about = {key: value for key, value in row.items() if key not in ("start", "num_samples")}
        for shift in [0, *_shifts_of(row, shifts, select)]:
            left = row["num_samples"] - shift
            if left > 0:
                span = Span(str((folder / SAMPLES).resolve()), row["start"] + shift, left)
                clips.append(Clip(about | _moved(row["id"], shift), span, -(-left // hop_length)))
    return clips


def recorded_clips(
    rows: Sequence[CorpusRow],
    config: Config,
    hop_length: int,
    shifts: Sequence[int],
    select: Mapping[str, Any],
) -> list[Clip]:
    """As `prepared_clips`, of recordings that no store was prepared of."""
    rate = config.prepare.sample_rate
    clips = []
    for row in rows:
        expected = max(1, round(row.duration * rate))
        about = store_row(row, expected, config)
        for shift in [0, *_shifts_of(about, shifts, select)]:
            if (left := expected - shift) > 0:
                recording = Recording(row, config.prepare, shift)
                codes = -(-left // hop_length)
                clips.append(Clip(about | _moved(row.id, shift), recording, codes))
    return clips


def plan_shards(split: str, clips: Sequence[Clip], shard_codes: int) -> list[Shard]:
    """Clips in their order, cut after every clip with which a shard reaches `shard_codes`."""
    shards: list[Shard] = []
    taken: list[Clip] = []
    count = 0
    for clip in clips:
        taken.append(clip)
        count += clip.num_codes
        if count >= shard_codes:
            shards.append(Shard(split, len(shards), tuple(taken)))
            taken, count = [], 0
    if taken:
        shards.append(Shard(split, len(shards), tuple(taken)))
    return shards


def plan_batches(shard: Shard, batch_codes: int) -> Iterator[Batch]:
    """Batches of clips of like length, the longest first, of at most `batch_codes` codes.

    A clip that is longer is a batch by itself. Each clip counts as the longest of its batch.
    """
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
        batch: Which.
        may_try: Asked before each clip, by its place in the batch; those that may not are left out.
    """
    samples: list[NDArray[np.int16] | None] = []
    reasons = []
    for place, source in enumerate(batch.sources):
        if may_try is not None and not may_try(place):
            samples.append(None)
            reasons.append(DEADLY)
            continue
        try:
            samples.append(source.read())
            reasons.append("")
        except (ValueError, OSError) as error:
            samples.append(None)
            reasons.append(str(error))
    return Sound(replace(batch, sources=()), tuple(samples), tuple(reasons))


def clips_of(batch: Batch) -> list[Batch]:
    """A batch for each clip of a batch."""
    parts = zip(batch.positions, batch.sources, strict=True)
    return [replace(batch, positions=(place,), sources=(source,)) for place, source in parts]


def without(batch: Batch, reason: str) -> Coded:
    """A batch of which there is nothing, for one reason."""
    count = len(batch.positions)
    return Coded(replace(batch, sources=()), (None,) * count, (0,) * count, (reason,) * count)


def joined(batch: Batch, parts: Sequence[Coded]) -> Coded:
    """The results of `clips_of` a batch as one."""
    codes, num_samples, reasons = zip(
        *((part.codes[0], part.num_samples[0], part.reasons[0]) for part in parts), strict=True
    )
    return Coded(replace(batch, sources=()), codes, num_samples, reasons)


def _shifts_of(
    row: Mapping[str, Any], shifts: Sequence[int], select: Mapping[str, Any]
) -> Sequence[int]:
    """The shifts of one clip."""
    return shifts if all(row.get(key) == value for key, value in select.items()) else ()


def _moved(name: str, shift: int) -> dict[str, Any]:
    """What a shifted copy's row says instead."""
    return {"id": f"{name}+{shift}", "base_id": name, "shift": shift} if shift else {}
