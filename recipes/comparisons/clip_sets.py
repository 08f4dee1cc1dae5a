"""Clips that systems are compared on: chosen rows of a manifest, or a prepared split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING

from codec.audio.io import read_audio
from codec.audio.store import AudioStore
from codec.checks import at_least, require
from codec.files.derived import digest_of, file_state
from codec.files.names import check_items
from codec.training.checkpoint import source_digest
from recipes.corpora.manifest import MANIFEST_NAME, CorpusRow, read_manifest
from recipes.corpora.preparation import spread


@dataclass
class ClipGroup:
    """Clips of a corpus that a row of figures is of, such as those of one kind of voices."""

    # Folder that holds manifest.jsonl.
    corpus: str = MISSING
    # Only clips of these sources, and by these speakers, as the manifest spells them; null = all.
    sources: list[str] | None = None
    speakers: list[str] | None = None
    # Clips at most, evenly spread; null = all.
    clips: int | None = None

    def __post_init__(self) -> None:
        if self.clips is not None:
            at_least("clips", self.clips, 1)


@dataclass
class ClipGroups:
    """Groups by name, each with a table of its own."""

    groups: dict[str, ClipGroup] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.groups), "groups", "at least one", self.groups)
        check_items(self.groups)


@dataclass(frozen=True)
class Clip:
    """A clip to code; `read` gives its waveform (T,) float32 in [-1, 1]."""

    id: str
    text: str
    speaker: str
    read: Callable[[], NDArray[np.float32]]
    is_scored: bool = True  # else its codes are counted only


@dataclass(frozen=True)
class ClipSet:
    """Clips of one table, its name, and a digest that tells whether they have changed."""

    name: str
    clips: Sequence[Clip]
    digest: str


def choose_rows(
    corpus: str | Path,
    split: str,
    *,
    sources: Sequence[str] | None = None,
    speakers: Sequence[str] | None = None,
    clips: int | None = None,
) -> list[CorpusRow]:
    """Choose rows of a corpus.

    Args:
        corpus: Folder that holds manifest.jsonl.
        split: `train`, `valid` or `test`.
        sources: Only rows of these; None for all.
        speakers: Only rows by these; None for all.
        clips: Rows at most, evenly spread; None for all.

    Raises:
        ValueError: No manifest, no such rows, or a source or speaker that has none.
    """
    manifest = Path(corpus) / MANIFEST_NAME
    rows = [row for row in read_manifest(manifest) if row.split == split]
    if sources is not None:
        rows = [row for row in rows if row.extra.get("source") in sources]
    if speakers is not None:
        rows = [row for row in rows if row.speaker in speakers]
    wanted = [*(sources or ()), *(speakers or ())]
    have = {name for row in rows for name in (row.extra.get("source"), row.speaker)}
    missing = [name for name in wanted if name not in have]
    if not rows or missing:
        by = missing or wanted
        what = f" by {', '.join(by)}" if by else ""
        raise ValueError(f"{manifest}: expected clips of split {split!r}{what}, got none")
    return spread(rows, clips)


def split_clips(folder: Path, limit: int | None) -> ClipSet:
    """Read a prepared split, of which at most `limit` clips are scored, evenly spread.

    Raises:
        ValueError: No such store, or ids that cannot name files.
    """
    store = AudioStore(folder)
    chosen = set(spread(range(len(store)), limit))
    check_items((store.rows[index]["id"] for index in chosen), ".flac")
    clips = [
        Clip(
            row["id"], row["text"], row["speaker"], partial(store.waveform, index), index in chosen
        )
        for index, row in enumerate(store.rows)
    ]
    return ClipSet(folder.name, clips, source_digest(store))


def group_clips(
    name: str, group: ClipGroup, split: str, sample_rate: int, limit: int | None
) -> ClipSet:
    """Choose the clips of a group, of at most `limit` where the group itself has no limit.

    Raises:
        ValueError: As `choose_rows`, or ids that cannot name files.
    """
    rows = choose_rows(
        group.corpus,
        split,
        sources=group.sources,
        speakers=group.speakers,
        clips=limit if group.clips is None else group.clips,
    )
    check_items((row.id for row in rows), ".flac")
    clips = [
        Clip(row.id, row.text, row.speaker, partial(read_audio, row.audio, sample_rate))
        for row in rows
    ]
    # Size and time of the recordings, not their paths: a corpus may be moved.
    states = [(row.id, row.text, row.speaker, file_state(row.audio)[1:]) for row in rows]
    return ClipSet(f"{split}-{name}", clips, digest_of(states))
