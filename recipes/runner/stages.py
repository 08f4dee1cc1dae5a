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

import dataclasses
import hashlib
import importlib
import json
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from codec.derived import digest_of
from codec.distributed import process_rank
from codec.files import read_json, sha256_of, write_json
from codec.provenance import git_commit
from codec.runtime.run_lock import LOCK, holder_of, locked

from .config import Config, save_config
from .schema import STAGE_NAMES

# Suffix of the keys in settings.json that say when a stage before this one finished.
_FINISHED = ".finished"
# In the folder of `prepare`: digest of the corpus's manifest, as it was read.
ORIGIN_NAME = "origin.json"
# Files of a stage that a change of its settings does not make wrong: they are written anew.
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


class StageError(ValueError):
    """A stage that cannot run as asked, with what to do about it."""


@dataclass(frozen=True)
class Stage:
    """One stage: its work in a line, the top-level settings it reads, the stages before it."""

    summary: str
    settings: tuple[str, ...]
    upstream: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageReport:
    """Outcome of one stage: `status` is `done` or `skipped`; seconds are those of its work."""

    name: str
    status: str
    folder: Path
    seconds: float
    metrics: dict[str, Any]


STAGES = {
    "prepare": Stage(
        "corpus -> one store of equal-loudness 24 kHz waveforms per split",
        (
            "corpus",
            "further_corpora",
            "languages",
            "seed",
            "prepare",
            "corpora",
            "espeak",
            "kokoro",
            "strings",
        ),
    ),
    "train_codec": Stage(
        "waveforms -> the codec: encoder, quantizer, decoder, vocoder",
        ("seed", "codec", "train_codec"),
        ("prepare",),
    ),
    "encode_corpus": Stage(
        "waveforms -> the token store: one sequence of codes per clip",
        ("encode_corpus",),
        ("prepare", "train_codec"),
    ),
    "train_text": Stage(
        "transcripts -> the SentencePiece text model", ("seed", "train_text"), ("prepare",)
    ),
    "train_slm": Stage(
        "text and codes -> the speech language model",
        ("seed", "train_slm"),
        ("encode_corpus", "train_text"),
    ),
    "generate": Stage(
        "text and prompts -> reconstructed and generated recordings",
        ("seed", "generate"),
        ("train_slm",),
    ),
    "evaluate": Stage(
        "recordings -> figures with intervals, and report.html", ("seed", "evaluate"), ("generate",)
    ),
}


def stage_folder(config: Config, name: str) -> Path:
    """Return the folder of a stage in this run."""
    return Path(config.run) / name


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write a stage's figures to `metrics.json`, from where they reach `done.json`."""
    write_json(folder / "metrics.json", metrics)


def say(stage: str, message: str) -> None:
    """Print one line of progress on stderr; stdout is kept for results."""
    print(f"[{stage}] {message}", file=sys.stderr, flush=True)


def settings_of(config: Config, name: str, *, defaults: bool = False) -> dict[str, Any]:
    """Collect the settings that the results of a stage depend on, by dotted key.

    Those of the stages before it are included. With `defaults` the values are the schema's own.
    """
    settings: dict[str, Any] = {}
    for upstream in STAGES[name].upstream:
        settings |= settings_of(config, upstream, defaults=defaults)
    blank = Config()
    for key in STAGES[name].settings:
        value = getattr(config, key)
        settings |= _flatten(key, value, getattr(blank, key) if defaults else value)
    # The sections of the corpora that this run does not read may change freely.
    unread = {name: config.corpus != name for name in ("espeak", "kokoro")}
    unread["corpora"] = config.corpus not in ("ljspeech", "libritts")
    unread["strings"] = config.strings.train == 0
    return {key: value for key, value in settings.items() if not unread.get(key.split(".")[0])}


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
    settings = settings_of(config, name) | _upstream_times(config, name)
    has_work = _has_work(folder)
    if has_work:
        check_settings(config, name, settings)
    if (folder / "done.json").is_file():
        done = read_json(folder / "done.json", required=("seconds", "metrics"))
        _check_manifest(config, folder)
        say(name, f"done already in {folder}, skipped")
        return StageReport(name, "skipped", folder, done["seconds"], done["metrics"])
    # Settings without `done.json` are those of a run that was cut off. Without any work they are
    # those of one that was refused, and are replaced.
    resumed = has_work and (folder / "settings.json").is_file()
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
    # A launcher ends all processes of a stage together, and with them this command.
    sections = {name: getattr(config, name) for name in ("train_codec", "train_slm")}
    shared = [name for name, each in sections.items() if each.devices * each.num_nodes > 1]
    if len(shared) > 1 and set(shared) <= set(ordered):
        raise StageError(
            f"expected one stage of several devices in a command, got {' and '.join(shared)}: the "
            "other processes end with the first; run each by itself (stages=train_codec)"
        )
    keep_begun(config)
    # All of them before any work, so that a change upstream does not cost the first stage's hours.
    for name in ordered:
        if _has_work(stage_folder(config, name)):
            check_settings(config, name, settings_of(config, name))
    save_config(config, Path(config.run) / "config.yaml")
    return [run_stage(config, name) for name in ordered]


def keep_begun(config: Config) -> None:
    """Set precisions that are "auto" to those with which the run's folders were begun."""
    for name, setting in (("train_codec", "precision"), ("train_slm", "bf16")):
        path = stage_folder(config, name) / "settings.json"
        if getattr(getattr(config, name), setting) != "auto" or not path.is_file():
            continue
        begun = read_json(path, required=()).get(f"{name}.{setting}", "auto")
        if _has_work(path.parent):
            setattr(getattr(config, name), setting, begun)


def check_settings(config: Config, name: str, settings: dict[str, Any]) -> None:
    """Refuse a stage whose folder was made with other settings than these.

    Raises:
        StageError: It was; names the settings that differ.
    """
    folder = stage_folder(config, name)
    if not (folder / "settings.json").is_file():
        return
    before = read_json(folder / "settings.json", required=())
    # Open mappings in 0.1, which listed the names of what was set.
    for section in ("train_slm.documents", "train_slm.training"):
        before.pop(section, None)
    # A setting that came later than the folder had its default there.
    before = settings_of(config, name, defaults=True) | before
    # As they are when they are read back: tuples become lists.
    now, before = json.loads(json.dumps([settings, before]))
    # A key that only one side has is a change as well, but for those this call leaves open.
    keys = [key for key in now.keys() | before.keys() if not key.endswith(_FINISHED) or key in now]
    changed = sorted(key for key in keys if before.get(key) != now.get(key))
    if changed:
        shown = "; ".join(f"{key}: {before.get(key)!r} -> {now.get(key)!r}" for key in changed[:8])
        raise StageError(
            f"{name}: {folder} was made with other settings ({shown}). Choose another run=..., "
            + _advice(config, name, folder)
        )


def _advice(config: Config, name: str, folder: Path) -> str:
    """What else than another run folder can be done, unless a process works in this one."""
    locks = [(Path(config.run), _lock_name(name))]
    # Phases of a codec may be trained by processes of their own, each with a lock.
    locks += [(path.parent, LOCK) for path in folder.glob(f"*/{LOCK}")]
    holders = [found for each in locks if (found := holder_of(*each)) is not None]
    if holders:
        return f"or set them back: it is in use by {holders[0]}"
    return f"set them back, or delete {folder} and the stages after it"


def _lock_name(name: str) -> str:
    return f".{name}.lock"


def _stage_lock(config: Config, name: str) -> AbstractContextManager[None]:
    """The lock of a stage's folder, where this process is to hold it."""
    section: Any = getattr(config, name, None)
    processes = getattr(section, "devices", 1) * getattr(section, "num_nodes", 1)
    # Of processes that train together the first one holds it. Phases of a codec that are named one
    # by one may run side by side, and each has a lock of its own.
    if (processes > 1 and process_rank() > 0) or getattr(section, "only", None):
        return nullcontext()
    return locked(Path(config.run), _lock_name(name), what=stage_folder(config, name))


def _has_work(folder: Path) -> bool:
    """Whether a stage's folder holds more than what a stage writes before its work."""
    if not folder.is_dir():
        return False
    return any(
        path.is_file() and not any(path.match(each) for each in _BEFORE_WORK)
        for path in folder.rglob("*")
    )


def signature(settings: dict[str, Any]) -> str:
    """Hash the settings that a stage's results depend on, 16 hex digits."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def manifest_digest(config: Config) -> str | None:
    """SHA-256 of the corpus's manifest, None where it is not on this machine or has none.

    With further corpora the digest of all of theirs, None where one of them is missing.
    """
    manifests = [Path(each) / "manifest.jsonl" for each in (config.corpus, *config.further_corpora)]
    if not all(manifest.is_file() for manifest in manifests):
        return None
    sums = [sha256_of(manifest) for manifest in manifests]
    return sums[0] if len(sums) == 1 else digest_of(sums)


def _check_manifest(config: Config, folder: Path) -> None:
    """Refuse a finished folder that was made from the manifest as it was before a change."""
    path = folder / ORIGIN_NAME
    before: str | None = read_json(path)["manifest"] if path.is_file() else None
    now = manifest_digest(config)
    # A corpus that is gone, or lies elsewhere, cannot be compared.
    if before is not None and now is not None and now != before:
        raise StageError(
            f"{folder} was made from another manifest.jsonl of {config.corpus} (expected SHA-256 "
            f"{before[:16]}, got {now[:16]}). Choose another run=..., restore the manifest, or "
            f"delete {folder} and the stages after it"
        )


def _upstream_times(config: Config, name: str) -> dict[str, Any]:
    """When each stage before this one finished: a stage run again invalidates what follows it."""
    times = {}
    for upstream in STAGES[name].upstream:
        marker = stage_folder(config, upstream) / "done.json"
        if not marker.is_file():
            raise StageError(
                f"{name} reads what {upstream} makes, and {marker} is not there: "
                f"run the stages up to it first (stages={upstream},{name})"
            )
        times[upstream + _FINISHED] = read_json(marker, required=("finished",))["finished"]
    return times


def _flatten(key: str, value: Any, given: Any) -> dict[str, Any]:
    """A setting by its dotted key, or those of a section; runtime fields are left out.

    Sections and names of `value` give the keys, `given` (the same, or its default) the values.
    """
    if isinstance(value, dict):
        # The names in their order, since phases run in it, and then the settings of each.
        flat: dict[str, Any] = {key: list(given or ())}
        for name, entry in value.items():
            is_section = given is not value and dataclasses.is_dataclass(entry)
            blank = type(entry)() if is_section else entry  # type: ignore[operator]
            flat |= _flatten(f"{key}.{name}", entry, blank)
        return flat
    if not dataclasses.is_dataclass(value):
        return {key: given}
    flat = {}
    for field in dataclasses.fields(value):
        if not field.metadata.get("runtime"):
            inner = getattr(value, field.name), getattr(given, field.name)
            flat |= _flatten(f"{key}.{field.name}", *inner)
    return flat
