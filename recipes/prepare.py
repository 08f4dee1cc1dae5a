"""Corpus -> run/prepare/{train,valid,test}: one store of equal-loudness waveforms per split.

    python -m recipes.prepare recipes/configs/mini.yaml corpus=../shared/speech run=runs/real

Every clip becomes mono at one rate and one RMS. What is left out, and why, is in `skipped.jsonl`.
A split that is finished is kept when the stage is run again and the corpus has the same rows for
it; one that was cut off is made anew. A manifest that changed after the stage was done is refused.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Before the imports below: a mistyped setting must not wait for torch.
    from recipes.runner.cli import stage_command

    raise SystemExit(stage_command("prepare"))

import dataclasses
import functools
import math
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codec.audio.store import AudioStore, AudioStoreWriter, list_clips
from codec.files import read_json, whole_folder, write_json
from codec.files.derived import digest_of
from codec.files.json_lines import read_json_lines, write_json_lines
from codec.runtime.workers import DEADLY, Workers
from recipes.corpora.load import load_corpus
from recipes.corpora.manifest import SPLITS, CorpusRow
from recipes.corpora.preparation import (
    PreparedClip,
    listed_row,
    prepare_clip,
    select_rows,
    skip_record,
    store_row,
    too_many_unreadable,
)
from recipes.runner.config import Config, thread_count
from recipes.runner.stages import (
    ORIGIN_NAME,
    manifest_digest,
    say,
    stage_folder,
    write_metrics,
)

UNREADABLE_NAME = "unreadable.jsonl"
# Digest of the rows that a split was made from.
ROWS_NAME = "rows.json"


def main(config: Config) -> Path:
    """Prepare the three splits and return the stage's folder.

    Raises:
        ValueError: A corpus that is not there, a split without clips, or more unreadable clips
            than `prepare.max_unreadable` allows.
    """
    folder = stage_folder(config, "prepare")
    folder.mkdir(parents=True, exist_ok=True)
    # Before it is read: a manifest that changes meanwhile must not pass for the one that was read.
    manifest = manifest_digest(config)
    rows = load_corpus(config, folder)
    kept, skipped = select_rows(rows, config)
    say("prepare", f"{len(rows)} clips in {config.corpus}, {len(kept)} wanted")
    for split in SPLITS:
        if not any(row.split == split for row in kept):
            raise ValueError(
                f"no clip is left in split {split!r} of corpus {config.corpus!r}: check languages, "
                "prepare.min_duration, prepare.max_duration and the manifest's splits, or where it "
                "has none, prepare.valid_fraction and prepare.test_fraction, which of a few rows "
                "may leave none"
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
    write_json(folder / ORIGIN_NAME, {"manifest": manifest})
    reasons = Counter(entry["kind"] for entry in [*skipped, *unreadable])
    write_metrics(folder, {**_figures(folder), "skipped": dict(sorted(reasons.items()))})
    return folder


def _digest(rows: list[CorpusRow]) -> str:
    """Digest of the rows of a split, in their order."""
    # One by one: the text of a million rows at once would fill the memory.
    return digest_of([digest_of(dataclasses.asdict(row)) for row in rows])


def _made_from(final: Path, rows: list[CorpusRow]) -> bool:
    """True if a finished split was made from these rows."""
    path = final / ROWS_NAME
    if path.is_file():
        return read_json(path) == {"rows": _digest(rows)}
    # A split without a digest is one of an earlier version, and is compared by its own rows.
    names = ("id", "split", "text", "speaker", "lang")
    stored = {tuple(row[name] for name in names) for row in AudioStore(final).rows}
    left_out = {row["id"] for row in read_json_lines(final / UNREADABLE_NAME)}
    wanted = {tuple(getattr(row, name) for name in names) for row in rows}
    return stored == {row for row in wanted if row[0] not in left_out}


def _prepare_split(
    folder: Path, rows: list[CorpusRow], config: Config, *, workers: Workers, allowed: int
) -> list[dict[str, Any]]:
    """Make the store of one split unless it is there; return a record for each unreadable clip."""
    split = rows[0].split
    final = folder / split
    if final.is_dir() and _made_from(final, rows):
        say("prepare", f"{split}: done already")
        return read_json_lines(final / UNREADABLE_NAME)
    # Beside splits of the corpus as it is now, a clip of this one could be in two.
    if final.is_dir():
        say("prepare", f"{split}: the corpus has other rows than it was made from; made anew")
        shutil.rmtree(final)
    if split not in config.prepare.stored_splits:
        say("prepare", f"{split}: {len(rows)} clips listed, to be read where they are")
        with whole_folder(final) as partial:
            list_clips(partial, config.prepare.sample_rate, (listed_row(r, config) for r in rows))
            write_json(partial / ROWS_NAME, {"rows": _digest(rows)})
        return []
    unreadable: list[dict[str, Any]] = []
    work = functools.partial(prepare_clip, settings=config.prepare)
    clips = workers.map(work, rows, deadly=lambda row: PreparedClip(None, DEADLY))
    bar = tqdm(clips, f"  {split}", len(rows), unit="clip", file=sys.stderr, mininterval=1)
    hours = 0.0
    # The folder takes its name when all of the split is in it.
    with whole_folder(final) as partial:
        with AudioStoreWriter(partial, config.prepare.sample_rate) as writer:
            for row, clip in zip(rows, bar, strict=True):
                hours += row.duration / 3600
                bar.set_postfix_str(f"{hours:.3g} h", refresh=False)
                if clip.waveform is not None:
                    writer.add(clip.waveform, store_row(row, len(clip.waveform), config))
                    continue
                unreadable.append(skip_record(row, "unreadable", clip.reason))
                # Stop early: a corpus of broken paths must not be read to its end.
                if len(unreadable) > allowed:
                    advice = "mend or remove them, or raise prepare.max_unreadable"
                    raise ValueError(too_many_unreadable(unreadable, config, advice))
        write_json_lines(partial / UNREADABLE_NAME, unreadable)
        write_json(partial / ROWS_NAME, {"rows": _digest(rows)})
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
