"""Loading of a corpus by the name in `config.corpus`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from codec.files.names import folded
from recipes.runner.config import Config
from recipes.runner.stages import say
from slm.storage.sync import local_copy

from .espeak import espeak_rows
from .import_lhotse import cutset_utterances, is_cutset
from .importing import import_utterances
from .kokoro import kokoro_rows
from .manifest import MANIFEST_NAME, CorpusRow, assign_splits, read_manifest
from .published import libritts_rows, ljspeech_rows
from .word_strings import string_rows


def load_corpus(config: Config, work_folder: Path) -> list[CorpusRow]:
    """Load the rows of the corpus that `config.corpus` names, each with a split.

    Args:
        config: The run's settings.
        work_folder: Folder for a corpus that has to be made first (synthetic speech, strings of
            words).

    Raises:
        ValueError: The corpus is not there or breaks its layout, two corpora share an id, or a
            recording is in two splits.
    """
    rows = assign_splits(
        _joined([_rows(config, work_folder), *map(_further_rows, config.further_corpora)]),
        valid_fraction=config.prepare.valid_fraction,
        test_fraction=config.prepare.test_fraction,
        seed=config.seed,
    )
    _check_apart(rows)
    # Strings are made of rows that have a split, so that no recording is in two of them.
    if config.strings.train == 0:
        return rows
    return string_rows(rows, config.strings, work_folder / "strings", seed=config.seed)


def source_corpus(name: str, corpus: Path, folder: Path) -> Path:
    """Find the manifest or folder of a source; a CutSet becomes a manifest of cuts where they lie.

    Args:
        name: Of the source.
        corpus: As declared.
        folder: Of the stage; a CutSet's manifest goes to `cuts_<name>` in it.

    Raises:
        ValueError: lhotse is not installed, or no cut can be used.
    """
    if not is_cutset(corpus):
        return corpus
    target = folder / f"cuts_{name}"
    target.mkdir(parents=True, exist_ok=True)
    # Processes that train together each come here, and write into one folder.
    with FileLock(target / ".lock"):
        figures = import_utterances(cutset_utterances(corpus), target, in_place=True)
    left_out = sum(figures["skipped"].values())
    say(folder.name, f"{name}: {figures['clips']} cuts, {left_out} left out ({target})")
    return target / MANIFEST_NAME


def _rows(config: Config, work_folder: Path) -> list[CorpusRow]:
    """The rows of the named corpus, before splits are assigned."""
    if config.corpus == "espeak":
        return espeak_rows(config.espeak, work_folder / "espeak", seed=config.seed)
    if config.corpus == "kokoro":
        return kokoro_rows(config.kokoro, work_folder / "kokoro", seed=config.seed)
    if config.corpus == "ljspeech":
        return ljspeech_rows(config.corpora)
    if config.corpus == "libritts":
        return libritts_rows(config.corpora)
    return _manifest_rows(
        config.corpus, "corpus: expected espeak, kokoro, ljspeech, libritts or a folder"
    )


def _further_rows(folder: str) -> list[CorpusRow]:
    """The rows of a further corpus, its folder's name as the source of those that name none."""
    rows = _manifest_rows(folder, "further_corpora: expected a folder")
    source = Path(folder).name
    return [replace(row, extra={"source": source, **row.extra}) for row in rows]


def _manifest_rows(folder: str, expected: str) -> list[CorpusRow]:
    """The rows of a folder of this machine, or of one in object storage, which is fetched."""
    manifest = local_copy(folder) / MANIFEST_NAME
    if not manifest.is_file():
        raise ValueError(f"{expected} that holds {MANIFEST_NAME}, got {folder!r}")
    return read_manifest(manifest)


def _check_apart(rows: Sequence[CorpusRow]) -> None:
    """Raise `ValueError` where a path is in two splits; parts of a recording have their own."""
    # Few are held out: those of train are looked up among them, not kept.
    held: dict[str, CorpusRow] = {}
    for split in ("test", "valid", "train"):
        for row in rows:
            if row.split != split:
                continue
            path = os.path.abspath(row.audio)
            other = held.get(path) if split == "train" else held.setdefault(path, row)
            if other is not None and other.split != split:
                raise ValueError(
                    f"{path}: expected one split for each recording, got {other.split} as "
                    f"{other.id!r} and {split} as {row.id!r}"
                )


def _joined(corpora: Sequence[list[CorpusRow]]) -> list[CorpusRow]:
    """The rows of all corpora; ids name files, so none may stand in two of them."""
    seen: set[str] = set()
    for rows in corpora if len(corpora) > 1 else ():
        own = {folded(row.id) for row in rows}
        twice = sorted(seen & own)
        if twice:
            raise ValueError(
                f"further_corpora: expected ids of one corpus each, got {twice[:3]} in two"
            )
        seen |= own
    return [row for rows in corpora for row in rows]
