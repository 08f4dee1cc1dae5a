"""Loading of a corpus by the name in `config.corpus`."""

from __future__ import annotations

from pathlib import Path

from recipes.runner.config import Config
from slm.storage.sync import local_copy

from .espeak import espeak_rows
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
        ValueError: The corpus is not there or breaks its layout.
    """
    rows = assign_splits(
        _rows(config, work_folder),
        valid_fraction=config.prepare.valid_fraction,
        test_fraction=config.prepare.test_fraction,
        seed=config.seed,
    )
    # Strings are made of rows that have a split, so that no recording is in two of them.
    if config.strings.train == 0:
        return rows
    return string_rows(rows, config.strings, work_folder / "strings", seed=config.seed)


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
    # A folder of this machine, or one in object storage, whose files are fetched.
    manifest = local_copy(config.corpus) / MANIFEST_NAME
    if not manifest.is_file():
        raise ValueError(
            f"corpus: expected espeak, kokoro, ljspeech, libritts or a folder that holds "
            f"{MANIFEST_NAME}, got {config.corpus!r}"
        )
    return read_manifest(manifest)
