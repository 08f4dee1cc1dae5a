"""Readers of published likelihood tests, from their folders as they are unpacked.

The layouts are those of the data's own descriptions and were never tried on an archive; a folder
that is laid out otherwise is refused by name. Where a release differs, write a pair manifest
instead (`eval.likelihood_tests.pairs`).

- `swuggy`, `sblimp` (ZeroSpeech 2021, `lexical` and `syntactic`): `<split>/gold.csv` beside
  `<split>/*.wav`. Columns `id` (pairs what belongs together), `filename`, `voice`, `correct` (1
  or 0), and `subtype` (sBLIMP) or `frequency` (sWUGGY).
- `storycloze` (spoken or topic): files `<n>_correct.wav` and `<n>_incorrect.wav`; subfolders are
  parts.
- `salmon`: `<part>/sample_<n>.wav` beside `<part>/neg_sample_<n>.wav`, or the two in subfolders
  `positive` and `negative` under one name; folders below the root name the part.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from codec.files.names import data_files
from codec.files.reading import open_file
from eval.sound import SUFFIXES

from .pairs import LikelihoodPair


class SuiteError(ValueError):
    """A folder without the layout of its test; the message names what was expected."""


def read_swuggy(folder: Path) -> list[LikelihoodPair]:
    """Read words and non-words, by split and voice; see the module."""
    return _zerospeech(folder, "swuggy")


def read_sblimp(folder: Path) -> list[LikelihoodPair]:
    """Read grammatical and ungrammatical sentences, by split and phenomenon; see the module."""
    return _zerospeech(folder, "sblimp")


def read_storycloze(folder: Path, suite: str = "storycloze") -> list[LikelihoodPair]:
    """Read true and false endings of stories; see the module."""
    pairs, lone = [], []
    for path in _audio(folder):
        if path.stem.endswith("_correct"):
            name = path.stem.removesuffix("_correct")
            bad = path.with_name(f"{name}_incorrect{path.suffix}")
            pairs.append(_from_files(folder, suite, path, bad, name))
        elif path.stem.endswith("_incorrect"):
            lone.append(path)
    return _some(pairs, lone, folder, "files <n>_correct.wav with <n>_incorrect.wav")


def read_salmon(folder: Path) -> list[LikelihoodPair]:
    """Read consistent and inconsistent recordings, by part; see the module."""
    pairs, lone = [], []
    for path in _audio(folder):
        if path.stem.startswith("sample_"):
            bad = path.with_name(f"neg_{path.name}")
            pairs.append(_from_files(folder, "salmon", path, bad, path.stem))
        elif path.parent.name == "positive":
            bad = path.parent.with_name("negative") / path.name
            pairs.append(_from_files(folder, "salmon", path, bad, path.stem, above=1))
        elif path.stem.startswith("neg_sample_") or path.parent.name == "negative":
            lone.append(path)
    wanted = "sample_<n>.wav with neg_sample_<n>.wav, or positive/ and negative/"
    return _some(pairs, lone, folder, wanted)


def _zerospeech(folder: Path, suite: str) -> list[LikelihoodPair]:
    """Read every gold.csv below a folder; each voice speaks each pair once."""
    tables = [path for path in data_files(folder, (".csv",)) if path.name == "gold.csv"]
    if not tables:
        raise SuiteError(f"expected <split>/gold.csv below {folder}, got none")
    return [pair for table in tables for pair in _gold(table, folder, suite)]


def _gold(table: Path, folder: Path, suite: str) -> list[LikelihoodPair]:
    """Read one gold.csv."""
    try:
        with io.TextIOWrapper(open_file(table), "utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SuiteError(f"{table}: expected a table in UTF-8: {error}") from error
    needed = {"id", "filename", "voice", "correct"}
    if not rows or not needed <= rows[0].keys():
        raise SuiteError(
            f"{table}: expected columns {sorted(needed)}, got {sorted(rows[:1][0] if rows else [])}"
        )
    # Rows by id and voice, then by whether they are the correct one.
    sides: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for number, row in enumerate(rows, start=1):
        # A row of too few fields lacks values, one of too many has some without a column.
        if None in row or None in row.values():
            raise SuiteError(f"{table}: expected {len(rows[0])} values in row {number}, got {row}")
        side = sides.setdefault((row["id"], row["voice"]), {})
        if row["correct"].strip() in side:
            raise SuiteError(
                f"{table}: expected one correct and one wrong file for id {row['id']}, voice "
                f"{row['voice']}, got {row['filename']!r} beside them in row {number}"
            )
        side[row["correct"].strip()] = row
    split = table.parent.relative_to(folder).as_posix()
    prefix = "" if split == "." else f"{split}/"
    pairs = []
    for (number, voice), found in sides.items():
        if set(found) != {"0", "1"}:
            raise SuiteError(
                f"{table}: expected one correct and one wrong file for id {number}, voice "
                f"{voice}, got {sorted(found)}"
            )
        part = found["1"].get("subtype") or found["1"].get("frequency") or ""
        files = [table.parent / found[key]["filename"] for key in ("1", "0")]
        # Some tables leave the suffix out.
        good, bad = (f if f.suffix in SUFFIXES else f.with_name(f"{f.name}.wav") for f in files)
        name = f"{prefix}{number}" + (f"/{voice}" if voice else "")
        # Spoken by several voices, an item is one item.
        shared = f"{prefix}{number}"
        pairs.append(
            LikelihoodPair(name, suite, f"{prefix}{part}".strip("/"), good, bad, group=shared)
        )
    return pairs


def _audio(folder: Path) -> list[Path]:
    """List the audio files below a folder.

    Raises:
        SuiteError: No such folder.
    """
    if not folder.is_dir():
        raise SuiteError(f"expected a folder, got {folder}")
    return data_files(folder, SUFFIXES)


def _from_files(
    folder: Path, suite: str, good: Path, bad: Path, name: str, *, above: int = 0
) -> LikelihoodPair:
    """Pair two files, named and grouped by the folder of the better one.

    Raises:
        SuiteError: The other file is missing.
    """
    if not bad.is_file():
        raise SuiteError(f"expected {bad} beside {good}, which is its pair")
    part = good.parents[above].relative_to(folder).as_posix()
    part = "" if part == "." else part
    return LikelihoodPair(f"{part}/{name}".strip("/"), suite, part, good, bad)


def _some(
    pairs: list[LikelihoodPair], worse: list[Path], folder: Path, wanted: str
) -> list[LikelihoodPair]:
    """Return the pairs.

    Raises:
        SuiteError: There are none, or one of the worse recordings is in none of them.
    """
    if not pairs:
        raise SuiteError(f"expected {wanted} below {folder}, got none")
    left = set(worse) - {pair.neg for pair in pairs}
    if left:
        raise SuiteError(f"expected {wanted} below {folder}, got {min(left)} without its partner")
    return pairs


SUITES: dict[str, Callable[[Path], list[LikelihoodPair]]] = {
    "swuggy": read_swuggy,
    "sblimp": read_sblimp,
    "spoken_storycloze": lambda folder: read_storycloze(folder, "spoken_storycloze"),
    "topic_storycloze": lambda folder: read_storycloze(folder, "topic_storycloze"),
    "salmon": read_salmon,
}
