"""Preparation of recordings: which clips are wanted, one rate and one loudness for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from codec.audio.io import AudioError, audio_info, normalize_loudness, read_audio
from recipes.runner.config import Config
from recipes.runner.schema import PrepareConfig

from .manifest import SPLITS, CorpusRow

Item = TypeVar("Item")

# Below this RMS a clip is taken for silence: its hiss must not be raised to speech level.
SILENCE_DBFS = -70.0
# A recording this much shorter or longer than its manifest states is broken: share, and seconds.
DURATION_TOLERANCE = (0.02, 0.1)


@dataclass(frozen=True)
class PreparedClip:
    """A waveform (T,) float32, or the reason why there is none."""

    waveform: np.ndarray | None
    reason: str


def select_rows(
    rows: list[CorpusRow], config: Config
) -> tuple[list[CorpusRow], list[dict[str, Any]]]:
    """Select the rows that the settings ask for.

    Returns:
        Those rows, and a `skip_record` for each of the others.
    """
    settings = config.prepare
    kept: list[CorpusRow] = []
    skipped: list[dict[str, Any]] = []
    for row in rows:
        if config.languages is not None and row.lang not in config.languages:
            skipped.append(skip_record(row, "language", f"language {row.lang} was not asked for"))
        elif row.duration and not settings.min_duration <= row.duration <= settings.max_duration:
            bounds = f"[{settings.min_duration}, {settings.max_duration}] s"
            skipped.append(skip_record(row, "duration", f"{row.duration} s is outside {bounds}"))
        else:
            kept.append(row)
    if settings.limit is None:
        return kept, skipped
    limited: list[CorpusRow] = []
    for split in SPLITS:
        # The limit holds for each split by itself.
        of_split = [row for row in kept if row.split == split]
        chosen = spread(of_split, settings.limit)
        limited += chosen
        ids = {row.id for row in chosen}
        reason = f"beyond prepare.limit={settings.limit} clips of {split}"
        skipped += [skip_record(row, "limit", reason) for row in of_split if row.id not in ids]
    return limited, skipped


def spread(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Take at most `limit` of the items, evenly spread over their order.

    Corpora are sorted by speaker: the first items would be one voice.
    """
    if limit is None or limit >= len(items):
        return list(items)
    return [items[index * len(items) // limit] for index in range(limit)]


def prepare_clip(row: CorpusRow, settings: PrepareConfig) -> PreparedClip:
    """Read one clip at the wanted rate and loudness.

    The gain brings the RMS to `settings.loudness_dbfs`, and is less where the peak would pass full
    scale; there is none where that is None.

    Returns:
        (T,) float32 in [-1, 1], or the reason why the clip cannot be used.
    """
    try:
        # A truncated file often decodes without an error; its length gives it away. Looked at in
        # the header, it costs nothing, however long the file is.
        num_samples, rate = audio_info(row.audio)
        duration, (share, seconds) = num_samples / rate, DURATION_TOLERANCE
        is_stated = num_samples > 0 and row.duration > 0
        if is_stated and abs(duration - row.duration) > max(share * row.duration, seconds):
            got = f"expected the manifest's {row.duration:.2f} s, got {duration:.2f} s"
            return PreparedClip(None, f"{row.audio}: {got}")
        waveform = read_audio(row.audio, settings.sample_rate)
    except AudioError as error:
        return PreparedClip(None, str(error))
    rms_dbfs = 20 * math.log10(max(float(np.sqrt(np.mean(waveform**2))), 1e-10))
    if rms_dbfs < SILENCE_DBFS:
        return PreparedClip(None, f"{row.audio}: silent, {rms_dbfs:.0f} dBFS RMS")
    if settings.loudness_dbfs is not None:
        waveform = normalize_loudness(waveform, settings.loudness_dbfs, settings.sample_rate)
    return PreparedClip(waveform, "")


def store_row(row: CorpusRow, num_samples: int, config: Config) -> dict[str, Any]:
    """Build the row that a store keeps of a clip beside its samples."""
    own = {name: getattr(row, name) for name in ("id", "text", "speaker", "lang", "split")}
    own["source"] = row.extra.get("source", Path(config.corpus).name)
    own["duration"] = round(num_samples / config.prepare.sample_rate, 6)
    return row.extra | own


def listed_row(row: CorpusRow, config: Config) -> dict[str, Any]:
    """Build the row of a clip whose samples are not stored, of the length that the corpus states.

    It is a clip of one sample where the recording could not be measured.
    """
    num_samples = max(1, round(row.duration * config.prepare.sample_rate))
    return store_row(row, num_samples, config) | {"num_samples": num_samples}


def skip_record(row: CorpusRow, kind: str, reason: str) -> dict[str, Any]:
    """Build one line of skipped.jsonl."""
    return {"id": row.id, "split": row.split, "kind": kind, "reason": reason}


def too_many_unreadable(bad: Sequence[dict[str, Any]], config: Config, advice: str) -> str:
    """Word the error that stops a broken corpus; `bad` has records with `id` and `reason`."""
    shown = "".join(f"\n  {each['id']}: {each['reason']}" for each in bad[:5])
    return (
        f"more than {config.prepare.max_unreadable:.1%} of the clips of {config.corpus!r} are "
        f"unreadable; {advice}. The first:{shown}"
    )
