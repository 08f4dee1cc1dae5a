"""Signature of a stage's folder: the settings it was made with, and whether they still hold.

The settings that a stage's results depend on are those of its sections and of the stages before
it, but for fields marked `runtime` and sections of corpora that the run does not read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from codec.files import read_json, sha256_of
from codec.files.derived import digest_of
from codec.runtime.run_lock import LOCK, holder_of

from .config import Config
from .run_folder import ORIGIN_NAME, has_work
from .stage_list import STAGES, StageError, stage_folder

# Suffix of the keys in settings.json that say when a stage before this one finished.
_FINISHED = ".finished"


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


def keep_begun(config: Config) -> None:
    """Set precisions that are "auto" to those with which the run's folders were begun."""
    for name, setting in (("train_codec", "precision"), ("train_slm", "bf16")):
        path = stage_folder(config, name) / "settings.json"
        if getattr(getattr(config, name), setting) != "auto" or not path.is_file():
            continue
        begun = read_json(path, required=()).get(f"{name}.{setting}", "auto")
        if has_work(path.parent):
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
    """Advise what else than another run folder helps, unless a process works in this one."""
    locks = [(Path(config.run), lock_name(name))]
    # Phases of a codec may be trained by processes of their own, each with a lock.
    locks += [(path.parent, LOCK) for path in folder.glob(f"*/{LOCK}")]
    holders = [found for each in locks if (found := holder_of(*each)) is not None]
    if holders:
        return f"or set them back: it is in use by {holders[0]}"
    return f"set them back, or delete {folder} and the stages after it"


def lock_name(name: str) -> str:
    """Name the lock of a stage in the folder of a run."""
    return f".{name}.lock"


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


def check_manifest(config: Config, folder: Path) -> None:
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


def upstream_times(config: Config, name: str) -> dict[str, Any]:
    """List when each stage before this one finished: a new run of one invalidates what follows."""
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
