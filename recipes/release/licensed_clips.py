"""Clips of a corpus that may be passed on: licences of its sources, and one clip of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codec.checks import require
from codec.files.locations import file_of
from codec.files.reading import read_file
from recipes.corpora.manifest import MANIFEST_NAME, CorpusRow, read_manifest

# Seconds of a clip: long enough to be judged, short enough to load.
SHORTEST, LONGEST = 3.0, 8.0
# Beginnings of licences under which a clip may be passed on, and words that take that back.
FREE = ("cc0", "cc by", "cc-by", "apache", "mit", "public domain")
UNFREE = re.compile(r"\b(nc|nd|noncommercial|non-commercial|research)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Licence:
    """Licence of a source, as a table names it."""

    name: str
    attribution: str  # the other cells of its line

    @property
    def is_free(self) -> bool:
        """True if a clip may be passed on under it."""
        return self.name.lower().startswith(FREE) and not UNFREE.search(self.name)


def read_licences(path: Path) -> dict[str, Licence]:
    """Read the licences of sources from the first table in a Markdown file that holds them.

    Args:
        path: Holds a table with the columns "source" and "licence" (or "license").

    Raises:
        ValueError: No such table.
    """
    columns: list[str] = []
    found: dict[str, Licence] = {}
    for line in read_file(path).decode("utf-8").split("\n"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        names = [cell.lower().replace("license", "licence") for cell in cells]
        if not columns and {"source", "licence"} <= set(names):
            columns = names
        elif columns and line.startswith("|") and len(cells) == len(columns):
            row = dict(zip(columns, cells, strict=True))
            if set(row["source"]) - set("-: "):
                rest = (text for name, text in row.items() if name not in ("source", "licence"))
                found[row["source"]] = Licence(row["licence"], "; ".join(filter(None, rest)))
        elif columns:
            break
    if not found:
        raise ValueError(f'{path}: expected a table with the columns "source" and "licence"')
    return found


def choose_clips(
    folder: Path, licences: Mapping[str, Licence], sources: Sequence[str] = ()
) -> tuple[dict[str, CorpusRow], dict[str, str]]:
    """Choose a clip of each source that may be passed on.

    Args:
        folder: Holds a manifest.
        licences: By source.
        sources: To choose from; empty for all.

    Returns:
        The clips, and why the other sources have none.

    Raises:
        ValueError: A source that the manifest does not have.
    """
    by_source: dict[str, list[CorpusRow]] = {}
    for row in read_manifest(folder / MANIFEST_NAME):
        source = str(row.extra.get("source", folder.resolve().name))
        by_source.setdefault(source, []).append(row)
    unknown = sorted(set(sources) - by_source.keys())
    require(not unknown, "sources", f"some of {sorted(by_source)}", unknown)
    chosen: dict[str, CorpusRow] = {}
    left_out: dict[str, str] = {}
    for source, rows in sorted(by_source.items()):
        if sources and source not in sources:
            continue
        licence = licences.get(source)
        clips = [
            row
            for row in rows
            if row.split != "train"
            and SHORTEST <= row.duration <= LONGEST
            and file_of(row.audio).is_file()
        ]
        if licence is None:
            left_out[source] = "no licence is named"
        elif not licence.is_free:
            left_out[source] = f"its licence ({licence.name}) does not plainly allow it"
        elif not clips:
            left_out[source] = f"no clip of {SHORTEST:g} to {LONGEST:g} s in valid and test"
        else:
            clips.sort(key=lambda row: (row.duration, row.id))
            chosen[source] = clips[len(clips) // 2]
    return chosen, left_out
