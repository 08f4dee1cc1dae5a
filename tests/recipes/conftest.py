"""Tiny corpora and settings for the tests of the recipes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes.corpora.manifest import CorpusRow, read_manifest
from recipes.import_corpus import main as import_corpus
from recipes.runner.config import Config, load_config
from recipes.runner.stages import run_stages
from tests.support import codecs
from tests.support.builders import STAND_IN

SPLITS = ("train", "valid", "test")
# Encoding in several small shards and batches.
SMALL = ("encode_corpus.shard_codes=40", "encode_corpus.batch_seconds=1")


@pytest.fixture
def make_corpus(
    tmp_path: Path, make_waveform: Callable[..., np.ndarray]
) -> Callable[..., tuple[Path, list[dict[str, Any]]]]:
    """A maker of a folder with a manifest and WAV files; returns the folder and its records.

    `make_corpus(counts=(4, 2, 2), sample_rate=24000)`: clips of 0.5 s, so many in train, valid and
    test, of two speakers, the second of whom speaks German.
    """

    def make(
        counts: tuple[int, int, int] = (4, 2, 2), sample_rate: int = 24_000, name: str = "corpus"
    ) -> tuple[Path, list[dict[str, Any]]]:
        folder = tmp_path / name
        (folder / "audio").mkdir(parents=True)
        records = []
        for split, count in zip(SPLITS, counts, strict=True):
            for index in range(count):
                clip = f"{split}_{index}"
                waveform = make_waveform(0.5, sample_rate, pitch=100 + 20 * index, seed=index)
                soundfile.write(folder / "audio" / f"{clip}.wav", waveform, sample_rate)
                records.append(
                    {
                        "id": clip,
                        "audio": f"audio/{clip}.wav",
                        "duration": 0.5,
                        "text": f"sentence number {index}",
                        "speaker": f"speaker{index % 2}",
                        "lang": ("en", "de")[index % 2],
                        "split": split,
                        "gender": "f",
                    }
                )
        write_records(folder, records)
        return folder, records

    return make


def write_records(folder: Path, records: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "manifest.jsonl").write_text(lines, encoding="utf-8")


@pytest.fixture
def save_records() -> Callable[[Path, list[dict[str, Any]]], None]:
    """Writes records as the manifest of a folder."""
    return write_records


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Config]:
    """`make_config(corpus, "key=value", ...)`: settings of a run in tmp_path/run, one thread."""

    def make(corpus: Path | str, *overrides: str) -> Config:
        path = tmp_path / "settings.yaml"
        path.write_text("threads: 1\n", encoding="utf-8")
        return load_config(path, [f"corpus={corpus}", f"run={tmp_path / 'run'}", *overrides])

    return make


@pytest.fixture
def tiny_codec(tmp_path: Path) -> Path:
    """The folder of a codec with a codebook of random latents."""
    codecs.tiny_codec().save_pretrained(tmp_path / "codec")
    return tmp_path / "codec"


@pytest.fixture
def prepared(
    make_corpus: Callable[..., tuple[Path, list[dict[str, Any]]]],
    make_config: Callable[..., Config],
    tiny_codec: Path,
) -> Callable[..., Config]:
    """`prepared("key=value", ...)`: settings of a run whose clips and codec are there."""
    corpus, _ = make_corpus((9, 2, 2))
    start = f"codec.start={tiny_codec}"
    run_stages(make_config(corpus, start), ["prepare", "train_codec"])

    def settings(*overrides: str) -> Config:
        return make_config(corpus, start, *SMALL, *overrides)

    return settings


@pytest.fixture(scope="session")
def poison(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with which a process dies of opening a recording named `poison...`."""
    folder = tmp_path_factory.mktemp("poison")
    (folder / "sitecustomize.py").write_text(STAND_IN, encoding="utf-8")
    return str(folder)


@pytest.fixture
def write_tone(make_waveform: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """`write_tone(path, seconds=0.2, rate=16000, pitch=120.0)`: a recording."""

    def write(path: Path, seconds: float = 0.2, rate: int = 16_000, pitch: float = 120.0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, make_waveform(seconds, rate, pitch=pitch), rate)
        return path

    return write


@pytest.fixture
def run_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[list[CorpusRow], list[dict[str, Any]], dict[str, Any]]]:
    """`run_import(kind, folder, *options)`: rows, skips and figures."""

    def run(
        kind: str, folder: Path, *options: str
    ) -> tuple[list[CorpusRow], list[dict[str, Any]], dict[str, Any]]:
        output = tmp_path / "imported"
        assert import_corpus([kind, str(folder), "-o", str(output), "--json", *options]) == 0
        figures = json.loads(capsys.readouterr().out)
        skipped = (output / "skipped.jsonl").read_text().splitlines()
        return read_manifest(output / "manifest.jsonl"), [json.loads(x) for x in skipped], figures

    return run
