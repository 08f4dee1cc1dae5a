"""Parts of recordings: cut to files below the manifest, or named where they lie."""

from __future__ import annotations

import errno
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from codec.audio.io import read_whole, write_audio
from codec.derived import Origins, digest_of, file_state
from codec.file_names import item_path
from codec.locations import Part, part_path
from codec.runtime.workers import DEADLY, Workers

if TYPE_CHECKING:
    from .importing import Utterance

# Folder below the manifest for recordings that were cut out.
AUDIO_FOLDER = "audio"


@dataclass(frozen=True)
class _Cut:
    """Parts of one recording, to be written as files of their own.

    Attributes:
        audio: The recording.
        parts: Path, start and end, and channel of each.
    """

    audio: Path
    parts: tuple[tuple[Path, tuple[float, float | None], int | None], ...]


def name_parts(utterances: Sequence[Utterance], failed: dict[str, str]) -> dict[str, Path]:
    """Name all clips by id where they lie; reasons of those that cannot be go to `failed`."""
    paths = {}
    for each in utterances:
        paths[each.id] = each.audio.absolute()
        if each.part is None:
            continue
        try:
            paths[each.id] = part_path(each.audio.absolute(), Part(*each.part, each.channel))
        except ValueError as error:
            failed[each.id] = str(error)
    return paths


def cut_parts(
    utterances: Sequence[Utterance], folder: Path, workers: int, failed: dict[str, str]
) -> dict[str, Path]:
    """Cut parts to files below the manifest, those that are not there yet or were cut elsewhere.

    Returns:
        The paths of all clips by id; reasons of those that could not be cut go to `failed`.
    """
    cuts = folder.absolute() / AUDIO_FOLDER
    paths = {
        each.id: item_path(cuts, each.id, ".flac") if each.part else each.audio.absolute()
        for each in utterances
    }
    failed |= _cut_missing(utterances, paths, Origins(folder.absolute() / ".cut.jsonl"), workers)
    return paths


def _cut_missing(
    utterances: Sequence[Utterance], paths: dict[str, Path], origins: Origins, workers: int
) -> dict[str, str]:
    """Write the parts that are not there yet or were cut elsewhere.

    Returns:
        The reasons of those that failed, by id.
    """
    # Parts of one recording go to one process, so that it is read from one place at a time.
    by_recording: dict[Path, list[Utterance]] = defaultdict(list)
    digests = {each.id: _cut_from(each) for each in utterances if each.part is not None}
    for each in utterances:
        if each.id in digests and not origins.is_current(paths[each.id], digests[each.id]):
            by_recording[each.audio].append(each)
    origins.forget(paths[each.id] for group in by_recording.values() for each in group)
    jobs = [
        _Cut(
            audio,
            tuple((paths[each.id], each.part or (0.0, None), each.channel) for each in group),
        )
        for audio, group in by_recording.items()
    ]
    failed: dict[str, str] = {}
    with Workers(workers if workers > 1 else 0, spare_few=True) as pool:
        found = pool.map(_cut_recording, jobs, deadly=lambda job: [DEADLY] * len(job.parts))
        bar = tqdm(found, "  recordings cut", len(jobs), file=sys.stderr, mininterval=1)
        for group, reasons in zip(by_recording.values(), bar, strict=True):
            for each, why in zip(group, reasons, strict=True):
                if why:
                    failed[each.id] = why
                else:
                    origins.note(paths[each.id], digests[each.id])
    return failed


def _cut_from(each: Utterance) -> str:
    """Digest of what a part is cut from, and how."""
    return digest_of(file_state(each.audio), each.part, each.channel)


def _cut_recording(job: _Cut) -> list[str]:
    """Write the parts of one recording; returns '' or the reason of failure for each."""
    reasons = []
    for path, (start, end), channel in job.parts:
        try:
            waveform, rate = read_whole(part_path(job.audio, Part(start, end, channel)))
        except (ValueError, OSError) as error:
            reasons.append(str(error))
            continue
        try:
            write_audio(path, waveform, rate)
            reasons.append("")
        except ValueError as error:
            reasons.append(str(error))
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            reasons.append(str(error))
    return reasons
