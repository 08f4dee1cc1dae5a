"""Encoding of a corpus into a token store: the recipe's local engine beside bare loops."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import soundfile
import torch

from benchmarks.harness.benchmark import Benchmark, Call, Contestant, CostCurve, Figure
from benchmarks.harness.reference_work import hum
from codec import HHCodec
from codec.bench.peers import SAMPLE_RATE, mimi
from codec.files.json_lines import write_json_lines
from recipes import encode_corpus
from recipes.corpora.manifest import SPLITS
from recipes.runner.config import load_config

from .codec import codec_for, tiny_codec

CLIPS = {"tiny": 1, "small": 20, "full": 20}
CLIP_SECONDS = {"tiny": 0.2, "small": 4.0, "full": 4.0}


def make_corpus(folder: Path, clips: int, seconds: float) -> list[Path]:
    """Write WAV files with a manifest: `clips` in train, and one each in valid and test."""
    folder.mkdir(parents=True)
    paths, rows = [], []
    for split in SPLITS:
        for number in range(clips if split == "train" else 1):
            name = f"{split}{number}"
            paths.append(folder / f"{name}.wav")
            waveform = hum(seconds, seed=number % 16)
            soundfile.write(paths[-1], waveform, SAMPLE_RATE)
            row = {"id": name, "audio": f"{name}.wav", "duration": seconds, "text": "a sentence"}
            row |= {"speaker": f"s{number % 4}", "lang": "en", "split": split}
            rows.append(row)
    write_json_lines(folder / "manifest.jsonl", rows)
    return paths


def recipe(folder: Path, corpus: Path, codec: HHCodec) -> Call:
    """Make a call of the stage `encode_corpus` in this process, from nothing every time."""
    run = folder / "run"
    codec.save_pretrained(run / "train_codec" / "model")
    settings = folder / "settings.yaml"
    # As all contestants: the machine's cores would else be compared.
    settings.write_text("threads: 1\n", encoding="utf-8")
    overrides = ["encode_corpus.recordings=true", "encode_corpus.workers=1"]
    overrides += ["encode_corpus.device=cpu", f"corpus={corpus}", f"run={run}"]
    config = load_config(settings, overrides)

    def call() -> None:
        shutil.rmtree(run / "encode_corpus", ignore_errors=True)
        # The stage prints progress, which would mix with that of the benchmark.
        with contextlib.redirect_stderr(io.StringIO()):
            encode_corpus.main(config)

    return call


def build(size: str, folder: Path) -> dict[str, Contestant]:
    """Build the encoding of files; work is seconds of audio."""
    paths = make_corpus(folder / "corpus", CLIPS[size], CLIP_SECONDS[size])
    seconds = CLIP_SECONDS[size] * len(paths)
    # Made when a contestant that needs it is chosen, and once for both.
    codec = cache(lambda: codec_for(size))
    return {
        "recipe": Contestant(lambda: recipe(folder, folder / "corpus", codec()), seconds),
        "loop": Contestant(lambda: _loop(paths, codec()), seconds),
        "mimi loop": Contestant(lambda: _peer_loop(paths), seconds),
    }


def _loop(paths: list[Path], codec: HHCodec) -> Call:
    """A call that reads and encodes each file and drops the codes: the floor of the recipe."""

    @torch.inference_mode()
    def call() -> None:
        for path in paths:
            codec.encode(torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None])

    return call


def _peer_loop(paths: list[Path]) -> Call:
    """The same with Mimi."""
    subject = mimi()

    @torch.inference_mode()
    def call() -> None:
        for path in paths:
            subject.encode(torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None])

    return call


def build_clips(folder: Path) -> Callable[[float], Call]:
    """Build calls of the recipe with a codec so small that the time is that of the recipe."""

    def make(clips: float) -> Call:
        place = folder / f"{clips:g}"
        make_corpus(place / "corpus", int(clips), 0.3)
        return recipe(place, place / "corpus", tiny_codec())

    return make


BENCHMARKS = (
    Benchmark(
        "corpus.encode",
        "recordings to a token store, one process, the shipped codec",
        "s of audio",
        build,
        (
            Figure(
                "recipe",
                "loop",
                "recipes.encode_corpus beside a bare loop of soundfile.read and encode: 1 would "
                "be loudness, batches, checksums and files for nothing",
            ),
            Figure(
                "recipe",
                "mimi loop",
                "recipes.encode_corpus beside the same loop with Mimi",
                ("full",),
            ),
        ),
    ),
)

CURVES = (
    CostCurve(
        "corpus.encode.clips",
        "recipes.encode_corpus on clips of 0.3 s with a tiny codec",
        "clips",
        {"tiny": (1, 2, 3, 4), "small": (8, 16, 32, 64), "full": (32, 64, 128, 256, 512, 1024)},
        build_clips,
    ),
)
