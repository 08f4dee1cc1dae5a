"""Corpus -> run/prepare/{train,valid,test}: one store of equal-loudness waveforms per split.

    python -m recipes.prepare recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Every clip becomes mono at one rate and one RMS. What is left out, and why, is in `skipped.jsonl`.
A split that is finished is kept when the stage is run again; one that was cut off is made anew.
"""

from __future__ import annotations

import functools
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codec.audio.store import AudioStore, AudioStoreWriter
from codec.files import whole_folder
from codec.json_lines import read_json_lines, write_json_lines
from codec.workers import DEADLY, Workers
from recipes.corpora.load import load_corpus
from recipes.corpora.manifest import SPLITS, CorpusRow
from recipes.corpora.preparation import (
    PreparedClip,
    prepare_clip,
    select_rows,
    skip_record,
    store_row,
    too_many_unreadable,
)
from recipes.runner.cli import stage_command
from recipes.runner.config import Config, thread_count
from recipes.runner.stages import say, stage_folder, write_metrics

UNREADABLE_NAME = "unreadable.jsonl"


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
    threads = thread_count(config)
    with Workers(threads if threads > 1 else 0, spare_few=True) as workers:
        for split in SPLITS:
            wanted = [row for row in kept if row.split == split]
            # Unreadable clips of earlier splits leave fewer for this one.
            left = allowed - len(unreadable)
            unreadable += _prepare_split(folder, wanted, config, workers=workers, allowed=left)
    write_json_lines(folder / "skipped.jsonl", [*skipped, *unreadable])
    reasons = Counter(entry["kind"] for entry in [*skipped, *unreadable])
    write_metrics(folder, {**_figures(folder), "skipped": dict(sorted(reasons.items()))})
    return folder


def _prepare_split(
    folder: Path, rows: list[CorpusRow], config: Config, *, workers: Workers, allowed: int
) -> list[dict[str, Any]]:
    """Make the store of one split unless it is there; return a record for each unreadable clip."""
    split = rows[0].split
    final = folder / split
    if final.is_dir():
        say("prepare", f"{split}: done already")
        return read_json_lines(final / UNREADABLE_NAME)
    unreadable: list[dict[str, Any]] = []
    work = functools.partial(prepare_clip, settings=config.prepare)
    clips = workers.map(work, rows, deadly=lambda row: PreparedClip(None, DEADLY))
    bar = tqdm(clips, f"  {split}", len(rows), file=sys.stderr, mininterval=1)
    # The folder takes its name when all of the split is in it.
    with whole_folder(final) as partial:
        with AudioStoreWriter(partial, config.prepare.sample_rate) as writer:
            for row, clip in zip(rows, bar, strict=True):
                if clip.waveform is not None:
                    writer.add(clip.waveform, store_row(row, len(clip.waveform), config))
                    continue
                unreadable.append(skip_record(row, "unreadable", clip.reason))
                # Stop early: a corpus of broken paths must not be read to its end.
                if len(unreadable) > allowed:
                    advice = "mend or remove them, or raise prepare.max_unreadable"
                    raise ValueError(too_many_unreadable(unreadable, config, advice))
        write_json_lines(partial / UNREADABLE_NAME, unreadable)
    return unreadable


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
