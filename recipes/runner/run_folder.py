"""The folder of a run: whether it holds work, its lock, and the settings that it is bound to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from codec.runtime.run_lock import locked

from .config import plain_settings, save_config

# In the folder of `prepare`: digest of the corpus's manifest, as it was read.
ORIGIN_NAME = "origin.json"
# Files that a change of the settings does not make wrong: they are written anew.
_BEFORE_WORK = (
    *(
        ORIGIN_NAME,
        "settings.json",
        "config.yaml",
        "too_long.jsonl",
        "bad_files.jsonl",
        "index_*.jsonl",
    ),
    ".*",
)


def has_work(folder: Path, before_work: Sequence[str] = ()) -> bool:
    """Tell whether a folder holds more than a stage or a recipe writes before its work.

    Args:
        folder: Of the stage or of the run.
        before_work: Names of further files that are written before.
    """
    if not folder.is_dir():
        return False
    passed = (*_BEFORE_WORK, *before_work)
    return any(
        path.is_file() and not any(path.match(each) for each in passed)
        for path in folder.rglob("*")
    )


def keep_settings(
    settings: Any, folder: Path, runtime: Sequence[str] = (), *, before_work: Sequence[str] = ()
) -> None:
    """Write config.yaml into a run's folder, or refuse a folder made with other settings.

    Those of a run that was refused before it did anything bind nothing.

    Args:
        settings: A dataclass.
        folder: Of the run; made when missing.
        runtime: Fields that change no result and may differ.
        before_work: Names of files that the run writes before its work.

    Raises:
        ValueError: The folder was made with other settings; names them.
    """
    check_kept(settings, folder, runtime, before_work=before_work)
    save_config(settings, folder / "config.yaml")


def check_kept(
    settings: Any, folder: Path, runtime: Sequence[str] = (), *, before_work: Sequence[str] = ()
) -> None:
    """Refuse what `keep_settings` does, and write nothing.

    Raises:
        ValueError: The folder was made with other settings; names them.
    """
    path = folder / "config.yaml"
    if not path.is_file() or not has_work(folder, before_work):
        return
    now = plain_settings(settings)
    before = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(now, dict)
    assert isinstance(before, dict)
    keys = [key for key in now | before if key not in runtime]
    changed = [key for key in keys if now.get(key) != before.get(key)]
    if changed:
        shown = "; ".join(f"{k}: {before.get(k)!r} -> {now.get(k)!r}" for k in changed[:6])
        raise ValueError(
            f"{folder} was made with other settings ({shown}). Choose another run=..., set "
            "them back, or delete it"
        )


@contextmanager
def own_folder(
    settings: Any, folder: Path, runtime: Sequence[str] = (), *, before_work: Sequence[str] = ()
) -> Iterator[None]:
    """Hold the folder of a run for its settings; see `keep_settings`.

    Raises:
        ValueError: Another process works in the folder, or it was made with other settings.
    """
    with locked(folder):
        keep_settings(settings, folder, runtime, before_work=before_work)
        yield
