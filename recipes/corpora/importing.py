"""Import of a corpus: lengths measured, parts cut out, skips listed, the manifest written.

A module that knows a layout yields an `Utterance` for every clip and a `Skip` for everything that
cannot become one; the rest is the same for all of them and is done here. Nothing is lost when a run
is cut off: lengths are kept in `.measured.jsonl`, and parts that are cut are taken as they are, as
long as `.cut.jsonl` has them from the same recording at the same times. Parts may also be named
where they lie.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codec.audio.index import Measurement, measure_files
from codec.audio.io import AudioError
from codec.checks import at_least
from codec.files import write_json
from codec.files.json_lines import write_json_lines
from codec.files.json_text import json_text
from codec.files.locations import Part
from codec.files.names import folded, name_problem

from .cutting import ClipFiles, ClipSource, cut_parts, name_parts
from .manifest import MANIFEST_NAME, SPLITS, CorpusRow, text_problem, write_manifest
from .preparation import spread
from .recording_checks import SplitSettings, unusable_recordings, with_splits, write_report

SKIPPED_NAME = "skipped.jsonl"
NOTES_NAME = "notes.jsonl"
FIGURES_NAME = "import.json"
MEASURED_NAME = ".measured.jsonl"
_MEASURED_AT_ONCE = 4096


@dataclass(frozen=True)
class Utterance:
    """A clip of a corpus as its layout describes it.

    Attributes:
        id: Unique within the corpus; may hold slashes.
        audio: The recording that it is, or is a part of.
        text: Transcript; '' where there is none.
        speaker: Unique within the corpus.
        lang: Language code.
        split: `train`, `valid` or `test`, or '' in a corpus without splits.
        extra: Further fields of the manifest.
        part: Start and end within the recording, s; None is the whole, an end of None its end.
        channel: Number of the one channel that it is, from 0; None is all, or the only one. One of
            several channels is a part, too.
    """

    id: str
    audio: Path
    text: str
    speaker: str
    lang: str
    split: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    part: tuple[float, float | None] | None = None
    channel: int | None = None

    def __post_init__(self) -> None:
        if self.channel is not None and self.part is None:
            raise ValueError(f"{self.id}: expected a part for channel {self.channel}, got none")

    @property
    def source(self) -> ClipSource:
        """The recording, or the part of it, that the clip is."""
        part = None if self.part is None else Part(*self.part, self.channel)
        return ClipSource(self.audio, part)


@dataclass(frozen=True)
class Skip:
    """Something that does not become a row, and the reason."""

    id: str
    reason: str
    kind: str = "layout"


class Note(Skip):
    """A remark on something that becomes a row nevertheless."""


@dataclass(frozen=True)
class RecordingSettings:
    """Checks of recordings of unknown origin, and their division into splits.

    Attributes:
        shortest: Seconds below which a recording is left out.
        splits: Of a corpus that has none.
    """

    shortest: float = 0.1
    splits: SplitSettings = field(default_factory=SplitSettings)


def import_utterances(
    found: Iterable[Utterance | Skip],
    folder: Path,
    *,
    limit: int | None = None,
    workers: int = 1,
    checked: RecordingSettings | None = None,
    in_place: bool = False,
) -> dict[str, Any]:
    """Write the manifest of a corpus into `folder`, and `skipped.jsonl` and `import.json` beside.

    Args:
        found: As a layout yields them.
        folder: Made when missing. Parts are cut to `audio/<id>.flac` in it, mono, 16 bit, at the
            recording's own rate.
        limit: At most so many clips, spread evenly over what was found.
        workers: Processes that cut.
        checked: Read every recording through; those too short, silent, or equal to an earlier one
            become none, splits are made, and `report.md` and `notes.jsonl` are written, too. None
            reads headers alone.
        in_place: Name parts of recordings in the manifest (`codec.files.locations`) and cut none.

    Returns:
        `clips`, `hours`, `speakers`, `splits` (clips of each) and `skipped` (count of each kind);
        with `checked` also `noted`.

    Raises:
        ValueError: No clip is left, some have a split and some have none, a split is unknown, or
            the limit lies below 1.
    """
    utterances, skips = _sorted_out(found)
    if limit is not None:
        at_least("limit", limit, 1)
    utterances = spread(utterances, limit)
    unknown = sorted({each.split for each in utterances} - {"", *SPLITS})
    if unknown:
        raise ValueError(f"expected the splits {', '.join(SPLITS)}, got {', '.join(unknown)}")
    folder.mkdir(parents=True, exist_ok=True)
    clips = {each.id: each.source for each in utterances}
    files = name_parts(clips) if in_place else cut_parts(clips, folder, workers)
    rows, unusable = _rows(utterances, files, folder / MEASURED_NAME, checked)
    notes = [each for each in skips if isinstance(each, Note)]
    skips = [each for each in skips if not isinstance(each, Note)] + unusable
    write_json_lines(folder / SKIPPED_NAME, [vars(skip) for skip in skips])
    if not rows:
        first = f"; the first: {skips[0].id}: {skips[0].reason}" if skips else ""
        raise ValueError(
            f"expected clips, found none that can be used and {len(skips)} that cannot{first}"
        )
    if checked is not None:
        rows = with_splits(rows, checked.splits)
        kept = {row.id for row in rows}
        notes = [note for note in notes if note.id in kept]
    splits = Counter(row.split for row in rows)
    if "" in splits and len(splits) > 1:
        raise ValueError(f"expected a split for every clip or for none, got {dict(splits)}")
    write_manifest(folder / MANIFEST_NAME, rows)
    figures = {
        "clips": len(rows),
        "hours": round(sum(row.duration for row in rows) / 3600, 4),
        "speakers": len({row.speaker for row in rows}),
        "splits": {name or "none": count for name, count in sorted(splits.items())},
        "skipped": dict(sorted(Counter(skip.kind for skip in skips).items())),
    }
    if checked is not None:
        figures["noted"] = dict(sorted(Counter(note.kind for note in notes).items()))
        write_json_lines(folder / NOTES_NAME, [vars(note) for note in notes])
        write_report(folder, rows, [(each.kind, each.id, each.reason) for each in skips + notes])
    write_json(folder / FIGURES_NAME, figures)
    return figures


def _sorted_out(found: Iterable[Utterance | Skip]) -> tuple[list[Utterance], list[Skip]]:
    """Clips with ids of their own, and everything else."""
    utterances: dict[str, Utterance] = {}
    skips: list[Skip] = []
    for item in tqdm(found, desc="  found", unit="clip", file=sys.stderr, mininterval=1):
        if isinstance(item, Skip):
            skips.append(item)
            continue
        key = folded(item.id)
        if key in utterances:
            other = utterances[key]
            reason = f"{item.audio}: {other.audio} has this id already"
            # Files named after both would be one on a disk that tells no cases apart.
            reason += "" if other.id == item.id else f", but for its case: {other.id!r}"
            skips.append(Skip(item.id, reason, "repeated"))
        elif reason := _unusable(item):
            skips.append(Skip(item.id, reason))
        else:
            utterances[key] = item
    return list(utterances.values()), skips


def _unusable(item: Utterance) -> str:
    """The reason why no manifest can hold an utterance, '' where one can."""
    problem = name_problem(item.id, ".flac")
    if problem:
        return f"no file can be named after this id: expected {problem}"
    fields = {"speaker": item.speaker, "lang": item.lang, "audio": str(item.audio)}
    empty = [name for name, value in fields.items() if not value]
    if empty:
        return f"expected {', '.join(empty)}, got nothing"
    if "\0" in fields["audio"]:
        return f"expected a path without NUL, got {fields['audio']!r}"
    for name in ("text", "speaker", "lang"):
        if problem := text_problem(getattr(item, name)):
            return f"{name}: expected {problem}, got {getattr(item, name)[:80]!r}"
    try:
        json_text(item.extra)
    except ValueError as error:
        return str(error)
    return ""


def _rows(
    utterances: Sequence[Utterance],
    clips: ClipFiles,
    index: Path,
    checked: RecordingSettings | None,
) -> tuple[list[CorpusRow], list[Skip]]:
    """The rows in the order of the utterances, and those whose audio cannot be used."""
    whole = [each for each in utterances if each.id not in clips.failed]
    files = [clips.paths[each.id] for each in whole]
    lengths = _measured(files, index, levels=checked is not None)
    unusable = {} if checked is None else unusable_recordings(files, lengths, checked.shortest)
    rows, skips = [], [Skip(key, reason, "audio") for key, reason in clips.failed.items()]
    for place, (each, length) in enumerate(zip(whole, lengths, strict=True)):
        if place in unusable:
            kind, reason = unusable[place]
            skips.append(Skip(each.id, reason, kind))
            continue
        if isinstance(length, AudioError):
            skips.append(Skip(each.id, str(length), "audio"))
            continue
        duration = round(length.num_samples / length.sample_rate, 6)
        path = clips.paths[each.id]
        row = (each.id, path, duration, each.text, each.speaker, each.lang, each.split)
        rows.append(CorpusRow(*row, extra=each.extra))
    return rows, skips


def _measured(
    paths: Sequence[Path], index: Path, *, levels: bool
) -> list[Measurement | AudioError]:
    """Lengths from the headers, or with levels of the whole files, with a bar."""
    # In steps, for the bar; in large ones, since every call reads the index.
    step = max(_MEASURED_AT_ONCE, len(paths) // 16)
    found: list[Measurement | AudioError] = []
    with tqdm(total=len(paths), desc="  lengths", unit="clip", file=sys.stderr) as bar:
        for start in range(0, len(paths), step):
            part = paths[start : start + step]
            found += measure_files(part, levels=levels, index=index)
            bar.update(len(part))
    return found
