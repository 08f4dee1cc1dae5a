"""Corpus -> run/prepare/{train,valid,test}: one store of equal-loudness waveforms per split.

    python -m recipes.prepare recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Every clip becomes mono at one rate and one RMS. What is left out, and why, is in `skipped.jsonl`.
A split that is finished is kept when the stage is run again; one that was cut off is made anew.
"""

from __future__ import annotations

import functools
import json
import math
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.audio.io import AudioError, normalize_loudness, read_audio
from codec.audio.store import AudioStore, AudioStoreWriter
from recipes.corpora.load import load_corpus
from recipes.corpora.manifest import SPLITS, CorpusRow
from recipes.runner.cli import stage_command
from recipes.runner.config import Config, thread_count
from recipes.runner.files import write_json_lines
from recipes.runner.schema import PrepareConfig
from recipes.runner.stages import say, stage_folder, write_metrics
from recipes.runner.workers import DEADLY, Workers

# Below this RMS a clip is taken for silence: its hiss must not be raised to speech level.
SILENCE_DBFS = -70.0
# A recording this much shorter or longer than its manifest says is broken: share, and seconds.
DURATION_TOLERANCE = (0.02, 0.1)
UNREADABLE_NAME = "unreadable.jsonl"


@dataclass(frozen=True)
class PreparedClip:
    """A waveform (T,) float32, or the reason why there is none."""

    waveform: np.ndarray | None
    reason: str


def main(config: Config) -> Path:
    """Prepare the three splits and return the stage's folder.

    Raises:
        ValueError: A corpus that is not there, a split without clips, or more unreadable clips
            than `prepare.max_unreadable` allows.
    """
    folder = stage_folder(config, "prepare")
    folder.mkdir(parents=True, exist_ok=True)
    rows = load_corpus(config, folder)
    kept, skipped = select_rows(rows, config)
    say("prepare", f"{len(rows)} clips in {config.corpus}, {len(kept)} wanted")
    for split in SPLITS:
        if not any(row.split == split for row in kept):
            raise ValueError(
                f"no clip is left in split {split!r} of corpus {config.corpus!r}: check languages, "
                "prepare.min_duration, prepare.max_duration and the manifest's splits"
            )
    allowed = math.floor(config.prepare.max_unreadable * len(kept))
    unreadable: list[dict[str, Any]] = []
    with Workers(thread_count(config)) as workers:
        for split in SPLITS:
            wanted = [row for row in kept if row.split == split]
            left = allowed - len(unreadable)
            unreadable += _prepare_split(folder, wanted, config, workers=workers, allowed=left)
    write_json_lines(folder / "skipped.jsonl", [*skipped, *unreadable])
    reasons = Counter(entry["kind"] for entry in [*skipped, *unreadable])
    write_metrics(folder, {**_figures(folder), "skipped": dict(sorted(reasons.items()))})
    return folder


def select_rows(
    rows: list[CorpusRow], config: Config
) -> tuple[list[CorpusRow], list[dict[str, Any]]]:
    """The rows that the settings ask for, and one record for each that they leave out."""
    settings = config.prepare
    kept: list[CorpusRow] = []
    skipped: list[dict[str, Any]] = []
    for row in rows:
        if config.languages is not None and row.lang not in config.languages:
            skipped.append(_record(row, "language", f"language {row.lang} was not asked for"))
        elif not settings.min_duration <= row.duration <= settings.max_duration:
            bounds = f"[{settings.min_duration}, {settings.max_duration}] s"
            skipped.append(_record(row, "duration", f"{row.duration} s is outside {bounds}"))
        else:
            kept.append(row)
    if settings.limit is None:
        return kept, skipped
    limited = []
    for split in SPLITS:
        of_split = [row for row in kept if row.split == split]
        count = min(settings.limit, len(of_split))
        # Evenly spread: manifests are sorted by speaker, the first ones would be one voice.
        chosen = {index * len(of_split) // count for index in range(count)}
        limited += [row for index, row in enumerate(of_split) if index in chosen]
        skipped += [
            _record(row, "limit", f"beyond prepare.limit={settings.limit} clips of {split}")
            for index, row in enumerate(of_split)
            if index not in chosen
        ]
    return limited, skipped


def prepare_clip(row: CorpusRow, settings: PrepareConfig) -> PreparedClip:
    """One clip at the wanted rate and loudness, or the reason why it cannot be had.

    The gain brings the RMS to `settings.loudness_dbfs`, and is less where the peak would pass full
    scale. Output (T,) float32 in [-1, 1].
    """
    try:
        waveform = read_audio(row.audio, settings.sample_rate)
    except AudioError as error:
        return PreparedClip(None, str(error))
    duration = len(waveform) / settings.sample_rate
    share, seconds = DURATION_TOLERANCE
    if abs(duration - row.duration) > max(share * row.duration, seconds):
        reason = f"{row.audio}: holds {duration:.2f} s, the manifest says {row.duration:.2f} s"
        return PreparedClip(None, reason)
    rms_dbfs = 20 * math.log10(max(float(np.sqrt(np.mean(waveform**2))), 1e-10))
    if rms_dbfs < SILENCE_DBFS:
        return PreparedClip(None, f"{row.audio}: silent, {rms_dbfs:.0f} dBFS RMS")
    return PreparedClip(normalize_loudness(waveform, settings.loudness_dbfs), "")


def _prepare_split(
    folder: Path, rows: list[CorpusRow], config: Config, *, workers: Workers, allowed: int
) -> list[dict[str, Any]]:
    """Make the store of one split unless it is there; return what was unreadable in it."""
    split = rows[0].split
    final, partial = folder / split, folder / f".{split}.partial"
    if final.is_dir():
        say("prepare", f"{split}: done already")
        lines = (final / UNREADABLE_NAME).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]
    shutil.rmtree(partial, ignore_errors=True)
    try:
        unreadable = _write_store(partial, rows, config, workers=workers, allowed=allowed)
        write_json_lines(partial / UNREADABLE_NAME, unreadable)
        partial.rename(final)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return unreadable


def _write_store(
    folder: Path, rows: list[CorpusRow], config: Config, *, workers: Workers, allowed: int
) -> list[dict[str, Any]]:
    """Write every readable clip into a store; return a record for each of the others."""
    unreadable: list[dict[str, Any]] = []
    work = functools.partial(prepare_clip, settings=config.prepare)
    deadly = PreparedClip(None, DEADLY)
    clips = workers.map(work, rows, f"  {rows[0].split}", deadly=lambda row: deadly)
    with AudioStoreWriter(folder, config.prepare.sample_rate) as writer:
        for row, clip in zip(rows, clips, strict=True):
            if clip.waveform is not None:
                writer.add(clip.waveform, store_row(row, len(clip.waveform), config))
                continue
            unreadable.append(_record(row, "unreadable", clip.reason))
            if len(unreadable) > allowed:
                raise ValueError(_too_many(unreadable, config))
    return unreadable


def store_row(row: CorpusRow, num_samples: int, config: Config) -> dict[str, Any]:
    """What the store keeps of a clip beside its samples."""
    own = {
        "id": row.id,
        "text": row.text,
        "speaker": row.speaker,
        "lang": row.lang,
        "split": row.split,
        "source": row.extra.get("source", Path(config.corpus).name),
        "duration": round(num_samples / config.prepare.sample_rate, 6),
    }
    return row.extra | own


def _record(row: CorpusRow, kind: str, reason: str) -> dict[str, Any]:
    """One line of skipped.jsonl."""
    return {"id": row.id, "split": row.split, "kind": kind, "reason": reason}


def _too_many(unreadable: list[dict[str, Any]], config: Config) -> str:
    """The message that stops a broken corpus."""
    shown = "".join(f"\n  {entry['id']}: {entry['reason']}" for entry in unreadable[:5])
    return (
        f"more than {config.prepare.max_unreadable:.1%} of the clips of {config.corpus!r} are "
        f"unreadable; mend or remove them, or raise prepare.max_unreadable. The first:{shown}"
    )


def _figures(folder: Path) -> dict[str, Any]:
    """Clips, hours and speakers of each split, read back from the finished stores."""
    figures: dict[str, Any] = {}
    for split in SPLITS:
        rows = AudioStore(folder / split).rows
        figures[split] = {
            "clips": len(rows),
            "hours": round(sum(row["duration"] for row in rows) / 3600, 4),
            "speakers": len({row["speaker"] for row in rows}),
        }
    return figures


if __name__ == "__main__":
    raise SystemExit(stage_command("prepare"))
