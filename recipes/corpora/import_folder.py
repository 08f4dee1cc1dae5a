"""A folder of recordings, with texts beside them, in a table, or without any.

Texts beside `a.wav` are `a.txt`, `a.lab` or `a.normalized.txt`. A table is LJSpeech's (`name|text`
or `name|text|normalized`, without a head), or CSV or TSV with a head whose columns are named.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codec.audio.io import RECORDINGS
from codec.error_text import reason_of
from codec.files.names import data_files
from codec.files.reading import open_file, read_file

from .import_kaldi import UNKNOWN_LANGUAGE
from .importing import Note, Skip, Utterance

TEXTS = (".txt", ".lab", ".normalized.txt")
TABLE = "metadata.csv"
# Names of columns that are found by themselves, by what they hold.
COLUMNS = {
    "audio": ("audio", "path", "file", "file_name", "filename", "wav", "audio_filepath", "name"),
    "text": ("text", "sentence", "transcript", "transcription", "normalized_text"),
    "speaker": ("speaker", "speaker_id", "client_id", "spk"),
    "lang": ("lang", "language", "locale"),
    "split": ("split",),
}
_SPLITS = {"dev": "valid", "validation": "valid", "eval": "test"}
# As the speaker: the folder that a recording lies in.
BY_FOLDER = "folder"


@dataclass(frozen=True)
class FolderSettings:
    """Facts that a folder does not hold.

    Attributes:
        table: Of texts; None for `metadata.csv` in the folder where there is one.
        columns: Of the table, by what they hold: audio, text, speaker, lang, split.
        speaker: Of everything, or "folder" for the folder a recording lies in. None takes the
            table's column, else the folders where there are several, else the corpus's name.
        lang: Language code where no column has one.
    """

    table: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    speaker: str | None = None
    lang: str = UNKNOWN_LANGUAGE

    def __post_init__(self) -> None:
        unknown = sorted(set(self.columns) - set(COLUMNS))
        if unknown:
            raise ValueError(f"--columns: expected some of {', '.join(COLUMNS)}, got {unknown}")


def folder_utterances(
    folder: Path, settings: FolderSettings | None = None
) -> Iterator[Utterance | Skip]:
    """Yield every recording below a folder; what has no text, or no recording, is listed.

    Args:
        folder: Of the recordings, at any depth.
        settings: Table, columns, speaker and language.

    Raises:
        ValueError: No recording, or a table that cannot be read or lacks a column.
    """
    settings = settings or FolderSettings()
    # Absolute, so that paths of a table and of the folder can be compared.
    folder = folder.absolute()
    recordings = data_files(folder, RECORDINGS)
    if not recordings:
        raise ValueError(f"{folder}: expected recordings ({', '.join(RECORDINGS)}), found none")
    table = settings.table
    if table is None and os.path.lexists(folder / TABLE):
        table = folder / TABLE
    if table is not None and not os.path.lexists(table):
        raise ValueError(f"--table: expected a file at {table}, found none")
    table = None if table is None else table.absolute()
    several = len({path.parent for path in recordings}) > 1
    speakers = _Speakers(folder, settings.speaker, by_folder=several)
    if table is None:
        yield from _with_texts_beside(folder, recordings, speakers, settings.lang)
    else:
        rows = read_table(table, settings.columns)
        yield from _of_table(folder, table, rows, recordings, speakers, settings.lang)


@dataclass(frozen=True)
class _Speakers:
    """Names of speakers."""

    folder: Path
    wanted: str | None
    by_folder: bool

    def of(self, recording: Path, stated: str = "") -> str:
        """Name the speaker of a recording whose table states one, or ''."""
        if self.wanted is not None and self.wanted != BY_FOLDER:
            return self.wanted
        if stated and self.wanted is None:
            return stated
        # The folder from the corpus's on, so that two of one name are two speakers.
        inside = recording.parent.relative_to(self.folder) if self._holds(recording) else None
        if inside is not None and inside.parts and (self.by_folder or self.wanted):
            return inside.as_posix()
        return self.folder.name or "speaker"

    def _holds(self, recording: Path) -> bool:
        return recording.is_relative_to(self.folder)


def _with_texts_beside(
    folder: Path, recordings: Sequence[Path], speakers: _Speakers, lang: str
) -> Iterator[Utterance | Skip]:
    """Recordings with the text of a file beside them."""
    texts = {path for path in data_files(folder, (".txt", ".lab"))}
    used: set[Path] = set()
    for audio in recordings:
        name = audio.relative_to(folder).with_suffix("").as_posix()
        beside = next((path for end in TEXTS if (path := _beside(audio, end)) in texts), None)
        text = ""
        if beside is not None:
            used |= {_beside(audio, end) for end in TEXTS}
            try:
                text = " ".join(read_file(beside).decode("utf-8-sig").split())
            except (OSError, UnicodeDecodeError) as error:
                yield Skip(
                    name, f"{beside}: expected a text in UTF-8: {reason_of(error, beside)}", "text"
                )
                continue
        if texts and not text:
            yield Note(name, f"{audio}: has no text; kept without one", "no_text")
        yield Utterance(name, audio, text, speakers.of(audio), lang)
    for path in sorted(texts - used):
        name = path.relative_to(folder).as_posix()
        yield Skip(name, f"{path}: no recording of this name beside it", "no_recording")


def _beside(audio: Path, ending: str) -> Path:
    """The path of a text beside a recording."""
    return audio.with_name(audio.stem + ending)


def _of_table(
    folder: Path,
    table: Path,
    rows: Sequence[dict[str, str]],
    recordings: Sequence[Path],
    speakers: _Speakers,
    lang: str,
) -> Iterator[Utterance | Skip]:
    """The recordings that a table names, and those that it does not."""
    known = set(recordings)
    by_stem: dict[str, list[Path]] = {}
    for path in recordings:
        by_stem.setdefault(path.stem, []).append(path)
    named: set[Path] = set()
    for row in rows:
        stated = row["audio"]
        audio = _find(stated, (table.parent, folder), known, by_stem)
        if audio is None:
            yield Skip(stated, f"{table}: no recording of this name", "no_recording")
            continue
        inside = audio.is_relative_to(folder)
        name = (audio.relative_to(folder) if inside else Path(audio.name)).with_suffix("")
        if audio in named:
            yield Skip(name.as_posix(), f"{audio}: stands in {table} already", "repeated")
            continue
        named.add(audio)
        text = " ".join(row.get("text", "").split())
        if not text:
            yield Note(name.as_posix(), f"{table}: has no text; kept without one", "no_text")
        speaker = speakers.of(audio, row.get("speaker", ""))
        split = row.get("split", "").lower()
        yield Utterance(
            name.as_posix(),
            audio,
            text,
            speaker,
            row.get("lang") or lang,
            _SPLITS.get(split, split),
        )
    for path in recordings:
        if path not in named:
            name = path.relative_to(folder).with_suffix("").as_posix()
            yield Skip(name, f"{path}: no line of {table} names it", "no_text")


def _find(
    stated: str, roots: Sequence[Path], known: set[Path], by_stem: Mapping[str, list[Path]]
) -> Path | None:
    """The recording that a line names: a path, one in `wavs` or `clips`, or a name alone."""
    if not stated or "\0" in stated:
        return None
    for root in roots:
        for inner in ("", "wavs", "clips"):
            path = Path(os.path.normpath(root / inner / stated))
            if path.suffix.lower() in RECORDINGS and (path in known or path.is_file()):
                return path
    # A name without its folder or suffix, where one recording alone has it.
    name = Path(stated)
    stem = name.stem if name.suffix.lower() in RECORDINGS else name.name
    found = by_stem.get(stem, [])
    return found[0] if len(found) == 1 else None


def read_table(path: Path, columns: Mapping[str, str]) -> list[dict[str, str]]:
    """Read a table of recordings as rows of what their columns hold.

    Args:
        path: Of the table: values by `|`, tabulators, semicolons or commas.
        columns: Names of columns by what they hold; those of `COLUMNS` are found by themselves.

    Returns:
        Rows with `audio`, and with `text`, `speaker`, `lang` and `split` where the table has them.

    Raises:
        ValueError: It cannot be read, or has no such column; names the file and the line.
    """
    try:
        with io.TextIOWrapper(open_file(path), "utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = next((sign for sign in "|\t;" if sign in first), ",")
            # Only commas are quoted; in the others a quotation mark is part of a text.
            quoting = csv.QUOTE_MINIMAL if delimiter in ",;" else csv.QUOTE_NONE
            # Strict: a quotation mark without its partner would take in the rows after it.
            reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
            lines = [(reader.line_num, each) for each in reader if any(each)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected a table in UTF-8: {reason_of(error, path)}") from error
    if not lines:
        raise ValueError(f"{path}: expected a line for every recording, got none")
    head = [name.strip() for name in lines[0][1]]
    if not columns and delimiter == "|" and not set(head) & set(COLUMNS["audio"]):
        return [_of_ljspeech(path, *line) for line in lines]
    found = _found_columns(path, head, columns)
    rows = []
    for number, values in lines[1:]:
        if len(values) != len(head):
            raise ValueError(f"{path}:{number}: expected {len(head)} values, got {len(values)}")
        rows.append({what: values[index].strip() for what, index in found.items()})
    return rows


def _of_ljspeech(path: Path, number: int, values: Sequence[str]) -> dict[str, str]:
    """A line of LJSpeech's form: the last text of it is the one that is spoken."""
    if len(values) not in (2, 3):
        raise ValueError(
            f"{path}:{number}: expected name|text or name|text|normalized, got {len(values)} "
            "values; name the columns of another table with --columns"
        )
    return {"audio": values[0].strip(), "text": (values[-1] or values[1]).strip()}


def _found_columns(path: Path, head: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Index of the column that holds each thing."""
    found: dict[str, int] = {}
    lower = [name.lower() for name in head]
    for what, names in COLUMNS.items():
        if what in columns:
            if head.count(columns[what]) != 1:
                raise ValueError(
                    f"{path}: expected one column {columns[what]!r} for {what}, got {list(head)}"
                )
            found[what] = head.index(columns[what])
        elif known := [name for name in names if name in lower]:
            if lower.count(known[0]) != 1:
                raise ValueError(
                    f"{path}: expected one column {known[0]!r}, got {list(head)}; rename one, or "
                    f"name another with --columns {what}=NAME"
                )
            found[what] = lower.index(known[0])
    if "audio" not in found:
        raise ValueError(
            f"{path}: expected a column of recordings, got {list(head)}; name it with "
            "--columns audio=NAME"
        )
    return found
