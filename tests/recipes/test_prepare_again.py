"""The stage `prepare` after a kill, a change of the manifest, and on a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codec.audio.store import AudioStore, AudioStoreWriter
from recipes import prepare
from recipes.runner.cli import stage_command
from recipes.runner.config import Config
from recipes.runner.stages import run_stage
from tests.support import forked
from tests.support.refusing_disks import full_disk, needs_limits

MakeCorpus = Callable[..., tuple[Path, list[dict[str, Any]]]]
MakeConfig = Callable[..., Config]
Save = Callable[[Path, list[dict[str, Any]]], None]


def test_finished_splits_are_kept_and_an_unfinished_one_is_made_anew(
    make_corpus: MakeCorpus, make_config: MakeConfig
) -> None:
    corpus, _ = make_corpus((4, 2, 2))
    config = make_config(corpus, "prepare.max_unreadable=0.2")
    (corpus / "audio" / "train_2.wav").write_bytes(b"")
    folder = prepare.main(config)
    whole = {path.name: path.read_bytes() for path in (folder / "test").iterdir()}
    before = (folder / "train" / "audio.i16").stat().st_mtime_ns
    # As a kill leaves it: train finished, test missing, nothing after.
    shutil.rmtree(folder / "test")
    (folder / "skipped.jsonl").unlink()
    prepare.main(config)
    assert {path.name: path.read_bytes() for path in (folder / "test").iterdir()} == whole
    assert (folder / "train" / "audio.i16").stat().st_mtime_ns == before
    (line,) = (folder / "skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "train_2"


def test_a_manifest_that_changes_while_the_stage_is_cut_off_mixes_no_splits(
    make_corpus: MakeCorpus, make_config: MakeConfig, save_records: Save
) -> None:
    corpus, records = make_corpus((4, 2, 2))
    config = make_config(corpus)
    folder = prepare.main(config)
    # As a kill leaves it: train and valid finished, test missing, nothing after.
    shutil.rmtree(folder / "test")
    valid = (folder / "valid" / "audio.i16").stat().st_mtime_ns
    records[0]["split"], records[-1]["split"] = "test", "train"
    records[1]["text"] = "corrected"
    save_records(corpus, records)
    prepare.main(config)
    stored = {split: AudioStore(folder / split).rows for split in ("train", "valid", "test")}
    for split, rows in stored.items():
        wanted = {(r["id"], r["text"]) for r in records if r["split"] == split}
        assert {(row["id"], row["text"]) for row in rows} == wanted
    assert (folder / "valid" / "audio.i16").stat().st_mtime_ns == valid  # its rows are the same


def test_a_finished_split_without_a_digest_is_kept_where_its_rows_are_the_same(
    make_corpus: MakeCorpus, make_config: MakeConfig, save_records: Save
) -> None:
    corpus, records = make_corpus((2, 1, 1))
    folder = prepare.main(make_config(corpus))
    for split in ("train", "valid"):
        (folder / split / "rows.json").unlink()
    before = {s: (folder / s / "audio.i16").stat().st_mtime_ns for s in ("train", "valid")}
    records[0]["text"] = "corrected"
    save_records(corpus, records)
    prepare.main(make_config(corpus))
    after = {s: (folder / s / "audio.i16").stat().st_mtime_ns for s in ("train", "valid")}
    assert (before["train"] != after["train"], before["valid"]) == (True, after["valid"])


def test_a_manifest_that_changed_after_the_stage_was_done_is_refused(
    make_corpus: MakeCorpus, make_config: MakeConfig, save_records: Save
) -> None:
    corpus, records = make_corpus((2, 1, 1))
    config = make_config(corpus)
    run_stage(config, "prepare")
    assert run_stage(config, "prepare").status == "skipped"
    records[0]["text"] = "corrected"
    save_records(corpus, records)
    with pytest.raises(ValueError, match=r"another manifest\.jsonl.*expected SHA-256"):
        run_stage(config, "prepare")
    shutil.rmtree(corpus)  # of a corpus that is gone the finished stage is all there is
    assert run_stage(config, "prepare").status == "skipped"


def prepare_until_killed(arguments: list[str]) -> None:
    """Prepare a corpus until the fifth clip comes, and die."""
    add, clips = AudioStoreWriter.add, []

    def counting_add(self: AudioStoreWriter, waveform: np.ndarray, row: dict[str, Any]) -> None:
        clips.append(row)
        if len(clips) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        add(self, waveform, row)

    AudioStoreWriter.add = counting_add
    stage_command("prepare", arguments)


def test_a_killed_stage_is_finished_by_the_same_command(
    make_corpus: MakeCorpus, make_config: MakeConfig, tmp_path: Path
) -> None:
    corpus, _ = make_corpus((3, 3, 1))
    config = make_config(corpus)
    arguments = [str(tmp_path / "settings.yaml"), f"corpus={corpus}", f"run={config.run}"]
    status = forked.run(prepare_until_killed, arguments, output=tmp_path / "printed.txt")
    assert status == -signal.SIGKILL, forked.printed(tmp_path / "printed.txt")
    folder = Path(config.run) / "prepare"
    (partial,) = folder.glob(".valid.*.partial")
    assert {path for path in folder.iterdir() if path.is_dir()} == {folder / "train", partial}
    assert run_stage(config, "prepare").metrics["valid"]["clips"] == 3
    uninterrupted = prepare.main(make_config(corpus, f"run={config.run}2"))
    for name in ("train/audio.i16", "valid/audio.i16", "valid/items.jsonl", "skipped.jsonl"):
        assert (folder / name).read_bytes() == (uninterrupted / name).read_bytes()
    assert not partial.exists()


@needs_limits
def test_a_full_disk_leaves_no_store(make_corpus: MakeCorpus, make_config: MakeConfig) -> None:
    corpus, _ = make_corpus((8, 1, 1))
    config = make_config(corpus)
    # Smaller than the samples of train (8 * 12,000 * 2 bytes), larger than everything else.
    with full_disk(100_000), pytest.raises(OSError, match="too large"):
        run_stage(config, "prepare")
    left = {path.name for path in (Path(config.run) / "prepare").iterdir()}
    assert left == {"settings.json", "config.yaml"}
    assert run_stage(config, "prepare").metrics["train"]["clips"] == 8
