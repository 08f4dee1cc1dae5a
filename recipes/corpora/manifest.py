"""Manifests: one JSON object a line, the one form in which every corpus reaches `prepare`.

Fields: `id`, `audio` (path, from the manifest's folder on), `duration` (s), `text` ('' where
there is no transcript), `speaker`, `lang`, and `split` (train, valid or test; may be absent from
every line of a corpus that has no splits). Further fields are carried along untouched.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from codec.audio.index import Measurement, measure_files
from codec.checks import all_finite
from codec.error_text import reason_of
from codec.files.json_lines import iter_json_lines, write_json_lines
from codec.files.names import folded, name_problem

SPLITS = ("train", "valid", "test")
MANIFEST_NAME = "manifest.jsonl"
# Strings of at most so many characters are kept once: other rows are likely to have them, too.
_SHORT = 32
_TEXT_FIELDS = ("id", "audio", "text", "speaker", "lang")
_FIELDS = {*_TEXT_FIELDS, "duration", "split"}


class ManifestError(ValueError):
    """A manifest that breaks the schema, with the file, the line and the field."""


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """One clip of a corpus.

    Attributes:
        id: Unique within the corpus.
        audio: Path of the recording.
        duration: Length in seconds, as the corpus states it or, where it does not, as measured; 0
            where the recording cannot be read.
        text: Transcript as published; '' where there is none.
        speaker: Speaker's name, unique within the corpus.
        lang: Language code.
        split: `train`, `valid` or `test`; '' in a corpus that has no splits of its own.
        extra: Further fields of the manifest, such as `gender` or `source`.
    """

    id: str
    audio: Path
    duration: float
    text: str
    speaker: str
    lang: str
    split: str
    extra: dict[str, Any] = field(default_factory=dict)


def read_manifest(path: Path) -> list[CorpusRow]:
    """Read every row of a manifest, in its order; audio paths are joined to the manifest's folder.

    Recordings whose rows state no duration are measured, which reads their headers.

    Raises:
        ManifestError: The file is missing or empty, a line is not a JSON object, or a field is
            missing, of the wrong type or out of range; an id that cannot name a file or is
            repeated, in another case too; splits on some lines only.
    """
    rows: list[CorpusRow] = []
    first_line: dict[str, int] = {}
    try:
        for number, record in iter_json_lines(path, error=ManifestError):
            row = _parse_record(record, where=f"{path}:{number}", folder=path.parent)
            # Files are named after ids, on disks of any kind.
            before = first_line.setdefault(folded(row.id), number)
            if before != number:
                raise ManifestError(
                    f"{path}:{number}: id: {row.id!r} stands on line {before} already; "
                    "ids must be unique, and not by case alone"
                )
            rows.append(row)
    except OSError as error:
        raise ManifestError(
            f"{path}: cannot read this manifest: {reason_of(error, path)}"
        ) from error
    if not rows:
        raise ManifestError(f"{path}: expected one JSON object a line, got an empty manifest")
    without = next((row for row in rows if not row.split), None)
    if without is not None and any(row.split for row in rows):
        line = first_line[folded(without.id)]
        raise ManifestError(
            f"{path}:{line}: split: missing here but given on other lines; "
            f"expected one of {', '.join(SPLITS)} on every line or on none"
        )
    return _measured(rows)


def _measured(rows: list[CorpusRow]) -> list[CorpusRow]:
    """The rows, those without a duration with that of their recordings."""
    without = [place for place, row in enumerate(rows) if not row.duration]
    found = measure_files([rows[place].audio for place in without], levels=False)
    for place, each in zip(without, found, strict=True):
        if isinstance(each, Measurement):
            duration = round(each.num_samples / each.sample_rate, 6)
            rows[place] = replace(rows[place], duration=duration)
    return rows


def text_problem(text: str) -> str:
    """Tell what is expected in place of a text that cannot be encoded, '' where it can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "a text that UTF-8 can hold"
    return ""


def write_manifest(path: Path, rows: Iterable[CorpusRow]) -> None:
    """Write rows as a manifest, whole or not at all.

    Audio below its folder is named from there, so that both can be moved; other audio absolutely.
    """
    folder = path.parent.absolute()
    records = []
    for row in rows:
        audio = row.audio.absolute()
        named = audio.relative_to(folder) if audio.is_relative_to(folder) else audio
        record: dict[str, Any] = {name: getattr(row, name) for name in ("id", "duration", "text")}
        record |= {"audio": named.as_posix(), "speaker": row.speaker}
        record |= {"lang": row.lang} | ({"split": row.split} if row.split else {})
        # A further field of the name of one of these would replace it.
        records.append(record | {k: v for k, v in row.extra.items() if k not in _FIELDS})
    write_json_lines(path, records)


def assign_splits(
    rows: list[CorpusRow], *, valid_fraction: float, test_fraction: float, seed: int
) -> list[CorpusRow]:
    """Assign a split to rows without one, by a hash of seed and id.

    A clip's split depends on nothing but its own id, so a corpus that grows moves no clip.
    """

    def split_of(row: CorpusRow) -> str:
        # The first 8 bytes of the hash as a number in [0, 1), evenly distributed over ids.
        digest = hashlib.sha256(f"{seed}/{row.id}".encode()).digest()
        share = int.from_bytes(digest[:8], "big") / 2**64
        if share < test_fraction:
            return "test"
        return "valid" if share < test_fraction + valid_fraction else "train"

    return [row if row.split else replace(row, split=split_of(row)) for row in rows]


def _parse_record(record: dict[str, Any], *, where: str, folder: Path) -> CorpusRow:
    """One line as a row, checked field by field."""

    def check(condition: bool, name: str, expected: str) -> None:
        if not condition:
            got = repr(record[name])[:200] if name in record else "nothing (the field is missing)"
            raise ManifestError(f"{where}: {name}: expected {expected}, got {got}")

    for name in _TEXT_FIELDS:
        check(isinstance(record.get(name), str), name, "a string")
        check(bool(record[name]) or name == "text", name, "a string that is not empty")
    # A path may hold other bytes than UTF-8.
    check("\0" not in record["audio"], "audio", "a path without NUL")
    for name in ("text", "speaker", "lang"):
        check(not text_problem(record[name]), name, text_problem(record[name]))
    # 0 for one that is not stated, until it is measured.
    seconds: Any = record.get("duration", 1)
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    # Comparable as it is: an integer may be too large for a float.
    check(is_number and 0 < seconds <= sys.float_info.max, "duration", "seconds > 0")
    problem = name_problem(record["id"], ".flac")
    check(not problem, "id", problem)
    split = record.get("split", "")
    check("split" not in record or split in SPLITS, "split", f"one of {', '.join(SPLITS)}")
    extra = {name: value for name, value in record.items() if name not in _FIELDS}
    # Few distinct values, kept once each: a corpus may have millions of rows.
    for name, value in extra.items():
        # What is prepared could not be written after all the work.
        try:
            all_finite(name, value, error=ManifestError)
        except ManifestError as error:
            raise ManifestError(f"{where}: {error}") from error
        if isinstance(value, str) and len(value) <= _SHORT:
            extra[name] = sys.intern(value)
    return CorpusRow(
        id=record["id"],
        audio=folder / record["audio"],
        duration=float(record.get("duration", 0.0)),
        text=record["text"],
        speaker=sys.intern(record["speaker"]),
        lang=sys.intern(record["lang"]),
        split=sys.intern(split),
        extra=extra,
    )
