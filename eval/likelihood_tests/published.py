"""Published likelihood tests as pairs, read from their folders as they are unpacked.

No archive is fetched and none was at hand when this was written: the layouts below are those the
data's own descriptions give, and a folder that is laid out otherwise is refused by name. Where a
release differs, write a pair manifest instead (`eval.likelihood_tests.judge`).

- `swuggy`, `sblimp` (ZeroSpeech 2021, `lexical` and `syntactic`): `<split>/gold.csv` beside
  `<split>/*.wav`. Columns `id` (pairs what belongs together), `filename`, `voice`, `correct` (1
  or 0), and `subtype` (sBLIMP) or `frequency` (sWUGGY).
- `storycloze` (spoken or topic): files `<n>_correct.wav` and `<n>_incorrect.wav`; subfolders are
  parts.
- `salmon`: `<part>/sample_<n>.wav` beside `<part>/neg_sample_<n>.wav`, or the two in subfolders
  `positive` and `negative` under one name; folders below the root name the part.
"""

import csv
from collections.abc import Callable
from pathlib import Path

from eval.sound import SUFFIXES

from .judge import LikelihoodPair


class SuiteError(ValueError):
    """A folder that is not laid out as its test should be; says what was looked for."""


def read_swuggy(folder: Path) -> list[LikelihoodPair]:
    """Word and non-word, by split and voice; see the module."""
    return _zerospeech(folder, "swuggy")


def read_sblimp(folder: Path) -> list[LikelihoodPair]:
    """Grammatical and ungrammatical sentence, by split and phenomenon; see the module."""
    return _zerospeech(folder, "sblimp")


def read_storycloze(folder: Path, suite: str = "storycloze") -> list[LikelihoodPair]:
    """True and other ending of a story; see the module."""
    pairs = []
    for good in _audio(folder):
        if not good.stem.endswith("_correct"):
            continue
        bad = good.with_name(f"{good.stem.removesuffix('_correct')}_incorrect{good.suffix}")
        pairs.append(_from_files(folder, suite, good, bad, good.stem.removesuffix("_correct")))
    return _some(pairs, folder, "files <n>_correct.wav with <n>_incorrect.wav")


def read_salmon(folder: Path) -> list[LikelihoodPair]:
    """Consistent and inconsistent recording, by part; see the module."""
    pairs = []
    for good in _audio(folder):
        if good.stem.startswith("sample_"):
            bad = good.with_name(f"neg_{good.name}")
            pairs.append(_from_files(folder, "salmon", good, bad, good.stem))
        elif good.parent.name == "positive":
            bad = good.parent.with_name("negative") / good.name
            pairs.append(_from_files(folder, "salmon", good, bad, good.stem, above=1))
    return _some(
        pairs, folder, "sample_<n>.wav with neg_sample_<n>.wav, or positive/ and negative/"
    )


def _zerospeech(folder: Path, suite: str) -> list[LikelihoodPair]:
    """Pairs of every gold.csv below a folder; a voice says each pair once."""
    tables = sorted(folder.rglob("gold.csv"))
    if not tables:
        raise SuiteError(f"expected <split>/gold.csv below {folder}, got none")
    return [pair for table in tables for pair in _gold(table, folder, suite)]


def _gold(table: Path, folder: Path, suite: str) -> list[LikelihoodPair]:
    """Pairs of one gold.csv."""
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    needed = {"id", "filename", "voice", "correct"}
    if not rows or not needed <= rows[0].keys():
        raise SuiteError(
            f"{table}: expected columns {sorted(needed)}, got {sorted(rows[:1][0] if rows else [])}"
        )
    sides: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows:
        sides.setdefault((row["id"], row["voice"]), {})[row["correct"].strip()] = row
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
        good, bad = (_named(table.parent, found[key]["filename"]) for key in ("1", "0"))
        name = f"{prefix}{number}" + (f"/{voice}" if voice else "")
        pairs.append(LikelihoodPair(name, suite, f"{prefix}{part}".strip("/"), good, bad))
    return pairs


def _named(folder: Path, name: str) -> Path:
    """A file of a table, whose suffix the table may leave out."""
    path = folder / name
    return path if path.suffix in SUFFIXES else folder / f"{name}.wav"


def _audio(folder: Path) -> list[Path]:
    """Audio files below a folder, sorted.

    Raises:
        SuiteError: No such folder.
    """
    if not folder.is_dir():
        raise SuiteError(f"expected a folder, got {folder}")
    return [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES]


def _from_files(
    folder: Path, suite: str, good: Path, bad: Path, name: str, *, above: int = 0
) -> LikelihoodPair:
    """A pair named and grouped by where its better file lies.

    Raises:
        SuiteError: The other file is missing.
    """
    if not bad.is_file():
        raise SuiteError(f"expected {bad} beside {good}, which is its pair")
    place = good.parent if not above else good.parent.parent
    part = place.relative_to(folder).as_posix()
    part = "" if part == "." else part
    return LikelihoodPair(f"{part}/{name}".strip("/"), suite, part, good, bad)


def _some(pairs: list[LikelihoodPair], folder: Path, wanted: str) -> list[LikelihoodPair]:
    """The pairs, or an error that says what a folder was searched for."""
    if not pairs:
        raise SuiteError(f"expected {wanted} below {folder}, got none")
    return pairs


SUITES: dict[str, Callable[[Path], list[LikelihoodPair]]] = {
    "swuggy": read_swuggy,
    "sblimp": read_sblimp,
    "spoken_storycloze": lambda folder: read_storycloze(folder, "spoken_storycloze"),
    "topic_storycloze": lambda folder: read_storycloze(folder, "topic_storycloze"),
    "salmon": read_salmon,
}
