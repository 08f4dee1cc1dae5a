"""Parts of recordings: cut to files below the manifest, or named where they lie."""

from __future__ import annotations

import errno
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from codec.audio.io import read_whole, write_audio
from codec.error_text import message_of
from codec.files.derived import Origins, digest_of, file_state
from codec.files.locations import Part, part_path
from codec.files.names import item_path
from codec.runtime.workers import DEADLY, Workers

# Folder below the manifest for recordings that were cut out.
AUDIO_FOLDER = "audio"


@dataclass(frozen=True)
class ClipSource:
    """Recording, or part of one, that a clip is made from.

    Attributes:
        audio: The recording.
        part: Of the recording; None is all of it.
    """

    audio: Path
    part: Part | None = None


class ClipFiles(NamedTuple):
    """Locations of clips by id, and the reasons of those that have none.

    Attributes:
        paths: Of every clip; nothing is there where it failed.
        failed: Reasons by id.
    """

    paths: dict[str, Path]
    failed: dict[str, str]


@dataclass(frozen=True)
class _Cut:
    """Parts of one recording, to be written as files of their own.

    Attributes:
        audio: The recording.
        parts: Path and part of each.
    """

    audio: Path
    parts: tuple[tuple[Path, Part], ...]


def name_parts(clips: Mapping[str, ClipSource]) -> ClipFiles:
    """Name all clips where they lie; those whose times no name can have fail."""
    files = ClipFiles({}, {})
    for key, clip in clips.items():
        files.paths[key] = clip.audio.absolute()
        if clip.part is None:
            continue
        try:
            files.paths[key] = part_path(clip.audio.absolute(), clip.part)
        except ValueError as error:
            files.failed[key] = str(error)
    return files


def cut_parts(clips: Mapping[str, ClipSource], folder: Path, workers: int) -> ClipFiles:
    """Cut parts to files below the manifest, those that are not there yet or were cut elsewhere.

    Args:
        clips: By id, which names the file of a part.
        folder: Of the manifest.
        workers: Processes that cut.
    """
    cuts = folder.absolute() / AUDIO_FOLDER
    paths = {
        key: item_path(cuts, key, ".flac") if clip.part else clip.audio.absolute()
        for key, clip in clips.items()
    }
    origins = Origins(folder.absolute() / ".cut.jsonl")
    parts = {key: (clip.audio, clip.part) for key, clip in clips.items() if clip.part is not None}
    return ClipFiles(paths, _cut_missing(parts, paths, origins, workers))


def _cut_missing(
    parts: Mapping[str, tuple[Path, Part]],
    paths: Mapping[str, Path],
    origins: Origins,
    workers: int,
) -> dict[str, str]:
    """Write the parts that are not there yet or were cut elsewhere.

    Returns:
        The reasons of those that failed, by id.
    """
    # Parts of one recording go to one process, so that it is read from one place at a time.
    by_recording: dict[Path, list[str]] = defaultdict(list)
    digests = {key: _cut_from(*source) for key, source in parts.items()}
    for key, (audio, _) in parts.items():
        if not origins.is_current(paths[key], digests[key]):
            by_recording[audio].append(key)
    origins.forget(paths[key] for group in by_recording.values() for key in group)
    jobs = [
        _Cut(audio, tuple((paths[key], parts[key][1]) for key in group))
        for audio, group in by_recording.items()
    ]
    failed: dict[str, str] = {}
    with Workers(workers if workers > 1 else 0, spare_few=True) as pool:
        found = pool.map(_cut_recording, jobs, deadly=lambda job: [DEADLY] * len(job.parts))
        bar = tqdm(found, "  recordings cut", len(jobs), file=sys.stderr, mininterval=1)
        for group, reasons in zip(by_recording.values(), bar, strict=True):
            for key, why in zip(group, reasons, strict=True):
                if why:
                    failed[key] = why
                else:
                    origins.note(paths[key], digests[key])
    return failed


def _cut_from(audio: Path, part: Part) -> str:
    """Digest of what a part is cut from, and how."""
    return digest_of(file_state(audio), (part.start, part.end), part.channel)


def _cut_recording(job: _Cut) -> list[str]:
    """Write the parts of one recording; returns '' or the reason of failure for each."""
    reasons = []
    for path, part in job.parts:
        try:
            waveform, rate = read_whole(part_path(job.audio, part))
        except (ValueError, OSError) as error:
            reasons.append(message_of(error))
            continue
        try:
            write_audio(path, waveform, rate)
            reasons.append("")
        except ValueError as error:
            reasons.append(str(error))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            reasons.append(message_of(error))
    return reasons
