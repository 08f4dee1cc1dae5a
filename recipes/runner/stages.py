"""Stages of a run: folders, signatures, skipping, resuming.

A stage is a module `recipes.<name>` with `main(config) -> Path`, which writes `run/<name>/` and may
leave a `metrics.json` there (`write_metrics`). `run_stage` puts around it:

- a lock, so that two processes do not work in one folder;
- `settings.json`, written before `main`: every setting that the results depend on, those of the
  stages before it included, and when those finished; it binds once the folder holds work;
- `done.json`, written after it: signature, metrics, commit, seconds. Present means finished.

So a finished stage is skipped, one that was cut off is called again and resumes, and one that was
started with other settings is refused.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from codec.files import read_json, write_json
from codec.provenance import git_commit
from codec.runtime.run_lock import locked

from .config import Config, save_config
from .inputs import check_inputs
from .schema import STAGE_NAMES
from .signatures import (
    ORIGIN_NAME,
    check_manifest,
    check_settings,
    has_work,
    keep_begun,
    lock_name,
    manifest_digest,
    settings_of,
    signature,
    upstream_times,
)
from .stage_list import STAGES, Stage, StageError, stage_folder

__all__ = [
    "ORIGIN_NAME",
    "STAGES",
    "Stage",
    "StageError",
    "StageReport",
    "check_settings",
    "keep_begun",
    "manifest_digest",
    "run_stage",
    "run_stages",
    "say",
    "settings_of",
    "signature",
    "stage_folder",
    "write_metrics",
]


@dataclass(frozen=True)
class StageReport:
    """Outcome of one stage: `status` is `done` or `skipped`; seconds are those of its work."""

    name: str
    status: str
    folder: Path
    seconds: float
    metrics: dict[str, Any]


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write a stage's figures to `metrics.json`, from where they reach `done.json`."""
    write_json(folder / "metrics.json", metrics)


def say(stage: str, message: str) -> None:
    """Print one line of progress on stderr; stdout is kept for results."""
    print(f"[{stage}] {message}", file=sys.stderr, flush=True)


def run_stage(config: Config, name: str) -> StageReport:
    """Run one stage, or skip it when it is done.

    Raises:
        StageError: A stage before it is not done, or its folder was made with other settings.
        ValueError: As the stage raises it.
    """
    with _stage_lock(config, name):
        return _run_stage(config, name)


def _run_stage(config: Config, name: str) -> StageReport:
    """Run one stage in a folder that no other process works in."""
    folder = stage_folder(config, name)
    keep_begun(config)
    settings = settings_of(config, name) | upstream_times(config, name)
    started = has_work(folder)
    if started:
        check_settings(config, name, settings)
    if (folder / "done.json").is_file():
        done = read_json(folder / "done.json", required=("seconds", "metrics"))
        check_manifest(config, folder)
        say(name, f"done already in {folder}, skipped")
        return StageReport(name, "skipped", folder, done["seconds"], done["metrics"])
    check_inputs(config, [name])
    # Settings without `done.json` are those of a run that was cut off. Without any work they are
    # those of one that was refused, and are replaced.
    resumed = started and (folder / "settings.json").is_file()
    say(name, f"{'resuming' if resumed else 'starting'}: {STAGES[name].summary}")
    write_json(folder / "settings.json", settings)
    save_config(config, folder / "config.yaml")
    # Stages are imported when they run: each loads only the libraries of its own work.
    start = time.perf_counter()
    made = importlib.import_module(f"recipes.{name}").main(config)
    assert made == folder, f"recipes.{name}.main returned {made}, its folder is {folder}"
    seconds = round(time.perf_counter() - start, 3)
    path = folder / "metrics.json"
    metrics = read_json(path, required=()) if path.is_file() else {}
    done = {
        "signature": signature(settings),
        "metrics": metrics,
        "commit": git_commit(),
        "seconds": seconds,
        "resumed": resumed,
        "finished": datetime.now(timezone.utc).isoformat(),
    }
    write_json(folder / "done.json", done)
    say(name, f"done in {seconds:.1f} s: {folder}")
    return StageReport(name, "done", folder, seconds, metrics)


def run_stages(config: Config, names: Sequence[str]) -> list[StageReport]:
    """Run some stages in their own order.

    Raises:
        StageError: Before any work, where a stage cannot run as asked.
    """
    ordered = [name for name in STAGE_NAMES if name in names]
    keep_begun(config)
    # All of them before any work, so that a change upstream does not cost the first stage's hours.
    for name in ordered:
        if has_work(stage_folder(config, name)):
            check_settings(config, name, settings_of(config, name))
    check_inputs(config, ordered)
    save_config(config, Path(config.run) / "config.yaml")
    return [run_stage(config, name) for name in ordered]


def _stage_lock(config: Config, name: str) -> AbstractContextManager[None]:
    """The lock of a stage's folder, where this process is to hold it."""
    section: Any = getattr(config, name, None)
    is_shared = getattr(section, "devices", 1) * getattr(section, "num_nodes", 1) > 1
    if is_shared:
        # Loads torch, for which a mistyped setting shall not wait.
        from codec.distributed import process_rank

        is_shared = process_rank() > 0
    # Of processes that train together the first one holds it. Phases of a codec that are named one
    # by one may run side by side, and each has a lock of its own.
    if is_shared or getattr(section, "only", None):
        return nullcontext()
    return locked(Path(config.run), lock_name(name), what=stage_folder(config, name))
