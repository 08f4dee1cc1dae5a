"""Checks of recordings of unknown origin, splits of a corpus without any, and their report."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from codec.audio.index import Measurement
from codec.checks import in_range, one_of
from codec.files import sha256_of, write_text

from .manifest import CorpusRow
from .preparation import SILENCE_DBFS

SPLIT_BY = ("clips", "speakers", "none")
REPORT_NAME = "report.md"
# Problems of a kind that the report shows; skipped.jsonl has them all.
_SHOWN = 20


@dataclass(frozen=True)
class SplitSettings:
    """Division of a corpus without splits.

    Attributes:
        by: "clips", "speakers" (no speaker is in two splits), or "none".
        valid: Share of the clips, or speakers, that become valid; one at least.
        test: As valid.
        seed: Chooses them.
    """

    by: str = "clips"
    valid: float = 0.02
    test: float = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("--split", self.by, SPLIT_BY)
        for name in ("valid", "test"):
            in_range(f"--{name}", getattr(self, name), 0, 0.5, ends="[)")


def with_splits(rows: Sequence[CorpusRow], settings: SplitSettings) -> list[CorpusRow]:
    """Give rows without a split one; a corpus with splits stays as it is.

    Raises:
        ValueError: Fewer clips or speakers than splits.
    """
    if settings.by == "none" or all(row.split for row in rows):
        return list(rows)
    by_clip = settings.by == "clips"
    names = sorted({row.id if by_clip else row.speaker for row in rows})
    if len(names) < 3:
        advice = "; --split none leaves them undivided"
        if not by_clip:
            advice = "; --split clips divides those of one speaker, too"
        raise ValueError(f"--split: expected at least 3 {settings.by}, got {len(names)}{advice}")
    # In an order that seed and name alone decide.
    names.sort(key=lambda name: hashlib.sha256(f"{settings.seed}/{name}".encode()).digest())
    test = max(1, round(settings.test * len(names)))
    valid = max(1, round(settings.valid * len(names)))
    held = dict.fromkeys(names[:test], "test")
    held |= dict.fromkeys(names[test : test + valid], "valid")
    return [
        replace(row, split=held.get(row.id if by_clip else row.speaker, "train")) for row in rows
    ]


def unusable_recordings(
    paths: Sequence[Path], measured: Sequence[Measurement | Exception], shortest: float
) -> dict[int, tuple[str, str]]:
    """Find recordings that are too short, silent, or copies of an earlier one.

    Args:
        paths: Of the recordings.
        measured: With levels; an error where one could not be read.
        shortest: Seconds.

    Returns:
        Kind and reason by the recording's place.
    """
    found: dict[int, tuple[str, str]] = {}
    alike: dict[tuple[int, float], list[int]] = defaultdict(list)
    for place, each in enumerate(measured):
        if not isinstance(each, Measurement):
            continue
        seconds = each.num_samples / each.sample_rate
        level = 20 * math.log10(max(each.rms or 0.0, 1e-10))
        if seconds < shortest:
            found[place] = "short", f"{paths[place]}: {seconds:.3f} s, below {shortest:g} s"
        elif level < SILENCE_DBFS:
            found[place] = "silent", f"{paths[place]}: silent, {level:.0f} dBFS RMS"
        else:
            alike[each.num_samples, each.rms or 0.0].append(place)
    # Only those of one length and level are read for their bytes.
    for places in alike.values():
        first: dict[str, int] = {}
        for place in places if len(places) > 1 else ():
            other = first.setdefault(sha256_of(paths[place]), place)
            if other != place:
                found[place] = "duplicate", f"{paths[place]}: the same bytes as {paths[other]}"
    return found


def write_report(
    folder: Path, rows: Sequence[CorpusRow], problems: Sequence[tuple[str, str, str]]
) -> None:
    """Write report.md: what became the corpus, and the problems by kind.

    Args:
        folder: Of the manifest.
        rows: Of the manifest.
        problems: Kind, id and reason of each.
    """
    hours = sum(row.duration for row in rows) / 3600
    texts = sum(bool(row.text) for row in rows)
    lines = [
        "# Imported recordings",
        "",
        f"{len(rows)} clips, {hours:.3f} h, {texts} with text",
        "",
    ]
    lines += ["| split | clips | minutes | speakers |", "| --- | --- | --- | --- |"]
    for split in sorted({row.split for row in rows}):
        own = [row for row in rows if row.split == split]
        minutes = sum(row.duration for row in own) / 60
        speakers = len({row.speaker for row in own})
        lines.append(f"| {split or 'none'} | {len(own)} | {minutes:.1f} | {speakers} |")
    counts = Counter(kind for kind, _, _ in problems)
    lines += ["", "No problems." if not counts else "## Problems"]
    for kind, count in sorted(counts.items()):
        lines += ["", f"### {kind}: {count}", ""]
        shown = [each for each in problems if each[0] == kind][:_SHOWN]
        lines += [f"- `{name}`: {reason}" for _, name, reason in shown]
        if count > _SHOWN:
            lines.append(f"- and {count - _SHOWN} more in skipped.jsonl or notes.jsonl")
    write_text(folder / REPORT_NAME, "\n".join(lines) + "\n")
