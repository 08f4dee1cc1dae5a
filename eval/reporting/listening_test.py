"""Blind listening tests: trials of several systems on the same clips, and their key."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.checks import at_least, one_of
from codec.files import read_json, write_json, write_text
from eval.protocols import MetricError
from eval.sound import load_sound, sound_digest

from .listening_page import listening_page
from .media import audio_uri

KINDS = ("ab", "mushra")
PAGE_NAME, KEY_NAME = "listen.html", "listen.key.json"
REFERENCE = "reference"
LOUDNESS_DBFS = -26.0


def write_listening_test(
    systems: Mapping[str, Mapping[str, Path]],
    folder: Path,
    *,
    kind: str = "ab",
    reference: Mapping[str, Path] | None = None,
    clips: int = 12,
    seed: int = 0,
    title: str = "Listening test",
) -> Path:
    """Write listen.html, which names no system, and listen.key.json, which does.

    "ab" asks for the better of each two systems on each clip; "mushra" for a score of every system
    and of the hidden reference. Clips are those that all have, evenly spread. All sounds are
    brought to one RMS.

    Args:
        systems: Files by clip of each system, by name.
        folder: For both files; made when missing.
        kind: One of `KINDS`.
        reference: Files by clip of the recordings; "mushra" needs them.
        clips: At most.
        seed: Of clips' ids and of the order that a listener gets, with the name.
        title: Heading of the page.

    Returns:
        The page.

    Raises:
        ValueError: Fewer systems than there must be, no clip that all have, a file that cannot be
            read, or a folder with the key of another test.
    """
    one_of("kind", kind, KINDS)
    at_least("clips", clips, 1)
    needed = 2 if kind == "ab" else 1
    if len(systems) < needed or REFERENCE in systems:
        raise ValueError(
            f"expected {needed} or more systems, none named {REFERENCE!r}, got {list(systems)}"
        )
    if kind == "mushra" and reference is None:
        raise ValueError("expected recordings as the reference of a MUSHRA test, got none")
    sources = {**systems, **({} if reference is None else {REFERENCE: reference})}
    shared = sorted(set.intersection(*(set(each) for each in sources.values())))
    if not shared:
        raise ValueError(f"expected clips that {', '.join(sources)} all have, got none")
    count = min(clips, len(shared))
    chosen = [shared[len(shared) * k // count] for k in range(count)]
    # Answers to other sounds of the same names are answers to another test.
    sounds = [sound_digest(files[clip]) for files in sources.values() for clip in chosen]
    test_id = _digest(seed, kind, *sources, *chosen, *sounds)
    _require_no_other(folder / KEY_NAME, test_id)
    trials = _trials(kind, list(systems), chosen, test_id, has_reference=reference is not None)
    audio, stimuli = {}, {}
    for trial in trials:
        for stimulus, (clip, system) in trial["sounds"].items():
            if stimulus not in audio:
                audio[stimulus] = _sound_uri(sources[system][clip])
                stimuli[stimulus] = {"clip": clip, "system": system}
    # Trials in an order of their own, whoever listens: their ids are in no order of clips.
    random.Random(seed).shuffle(trials)
    public = [{key: trial[key] for key in ("id", "reference", "stimuli")} for trial in trials]
    # By id, so that the file's order tells no system either.
    audio = dict(sorted(audio.items()))
    test = {"id": test_id, "kind": kind, "seed": _number(test_id), "trials": public, "audio": audio}
    key = {
        "test": test_id,
        "kind": kind,
        "systems": list(systems),
        "clips": chosen,
        "stimuli": stimuli,
    }
    write_json(folder / KEY_NAME, key)
    return write_text(folder / PAGE_NAME, listening_page(test, title))


def _require_no_other(key: Path, test_id: str) -> None:
    """Raise `ValueError` where a key lies that would be lost, and with it what its answers mean."""
    if key.exists() and read_json(key, required=("test",))["test"] != test_id:
        raise ValueError(
            f"expected a folder for this test, got one with the key of another ({key}), without "
            "which its answers mean nothing: name another folder, or delete that one"
        )


def _trials(
    kind: str, systems: Sequence[str], clips: Sequence[str], test: str, *, has_reference: bool
) -> list[dict[str, Any]]:
    """Trials with opaque ids; "sounds" maps the id of each sound to its clip and system."""
    trials = []
    for clip in clips:
        # MUSHRA hides the reference among the systems, too, under another id.
        groups = (
            list(itertools.combinations(systems, 2)) if kind == "ab" else [(*systems, REFERENCE)]
        )
        for group in groups:
            ids = {_digest(test, clip, system): (clip, system) for system in group}
            opened = _digest(test, clip, REFERENCE, "open") if has_reference else None
            sounds = ids | ({opened: (clip, REFERENCE)} if opened else {})
            trials.append(
                {
                    "id": _digest(test, clip, *group),
                    "reference": opened,
                    "stimuli": sorted(ids),
                    "sounds": sounds,
                }
            )
    return trials


def _sound_uri(path: Path) -> str:
    """A file at one RMS as FLAC in a data URI; peaks may lower it.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        sound = load_sound(path)
    except MetricError as error:
        raise ValueError(f"{path}: {error}") from error
    samples = np.asarray(sound.waveform, dtype=np.float64)
    rms, peak = float(np.sqrt(np.mean(samples**2))), float(np.abs(samples).max())
    if rms > 0:
        samples = samples * min(10 ** (LOUDNESS_DBFS / 20) / rms, 0.99 / peak)
    return audio_uri(samples, sound.sample_rate)


def _digest(*parts: Any) -> str:
    """12 hex digits that tell nothing of the parts."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]


def _number(digest: str) -> int:
    """A seed of 31 bits for the page."""
    return int(digest[:8], 16) & 0x7FFFFFFF
