"""A recording that kills who opens it costs itself alone: it is listed, and the rest encoded."""

import json
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from recipes.runner.cli import stage_command
from recipes.runner.stages import run_stage
from tests.support import forked
from tests.support.builders import STAND_IN, store_files


@pytest.fixture
def poisoned(prepared, save_records):
    """`poisoned(*settings)`: settings of a run with a deadly recording, and all else it makes."""

    def settings_of(*overrides):
        settings = prepared(
            "encode_corpus.recordings=true", "prepare.max_unreadable=0.4", *overrides
        )
        corpus = Path(settings.corpus)
        lines = (corpus / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        records[4]["audio"] = "audio/poison.wav"
        save_records(corpus, records)
        (corpus / "audio/poison.wav").write_bytes(b"RIFF")  # here it is just unreadable
        folder = run_stage(settings, "encode_corpus").folder
        made = store_files(folder)
        shutil.rmtree(folder)
        return settings, {name: made[name] for name in made if "done.json" not in name}

    return settings_of


def bad_ids(folder):
    lines = (folder / "bad_files.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert all("died" in record["reason"] for record in records)
    return [record["id"] for record in records]


@pytest.mark.slow
def test_a_recording_that_kills_workers_is_listed_and_the_rest_encoded(
    poisoned, poison, monkeypatch
):
    settings, expected = poisoned()
    settings.encode_corpus.workers = 2
    monkeypatch.setattr("codec.runtime.workers.IN_FLIGHT", 2)
    monkeypatch.setenv("PYTHONPATH", poison)
    folder = run_stage(settings, "encode_corpus").folder
    assert bad_ids(folder) == ["train_4"]
    assert expected.items() <= store_files(folder).items()


def encode_or_die(arguments):
    """The stage in a process that dies of opening a recording named `poison...`."""
    exec(STAND_IN, {})
    return stage_command("encode_corpus", arguments)


@pytest.mark.slow
def test_a_recording_that_kills_the_command_is_listed_by_the_next_one(
    poisoned, poison, monkeypatch, tmp_path
):
    settings, expected = poisoned()
    monkeypatch.setenv("PYTHONPATH", poison)
    config = ["corpus", "run", "codec.start", "encode_corpus.shard_codes"]
    config += ["encode_corpus.batch_seconds", "encode_corpus.recordings", "prepare.max_unreadable"]
    overrides = [f"{key}={OmegaConf.select(OmegaConf.structured(settings), key)}" for key in config]
    arguments = [str(tmp_path / "settings.yaml"), *overrides]
    assert forked.run(encode_or_die, arguments, output=tmp_path / "printed.txt") == 9
    folder = run_stage(settings, "encode_corpus").folder
    assert bad_ids(folder) == ["train_4"]
    assert expected.items() <= store_files(folder).items()
    assert not list(folder.glob(".working_on"))
