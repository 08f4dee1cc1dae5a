"""Data loaders: packed rows of codes and crops of audio, beside plain readers of the same data."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch

from benchmarks.harness.benchmark import Benchmark, Call, Contestant, CostCurve, Figure
from benchmarks.harness.reference_work import hum
from codec.audio.store import AudioStore, AudioStoreWriter
from codec.training.data import CropBatches
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.data.vocabulary import Vocabulary
from slm.text.sentencepiece_tokenizer import TextTokenizer

SEQ_LEN, BATCH = 1024, 8
CLIPS = {"tiny": 20, "small": 400, "full": 4000}
CROPS, CROP_SAMPLES, RATE = 16, 24_000, 24_000
RECORDINGS = {"tiny": 2, "small": 8, "full": 32}
WORDS = ("so", "many", "words", "are", "spoken", "in", "a", "store", "of", "codes", "each", "known")


def token_store(folder: Path, count: int) -> TokenStore:
    """Write a store of `count` utterances of 2 to 12 s of random codes, with text and speakers."""
    writer = TokenStoreWriter(
        folder, codec_fingerprint="benchmark", codebook_size=8192, frame_rate=23.4375
    )
    draw = np.random.default_rng(0)
    for number in range(count):
        codes = draw.integers(0, 8192, draw.integers(47, 281))
        text = " ".join(WORDS[k % len(WORDS)] for k in range(number, number + len(codes) // 10))
        row = {"id": f"u{number}", "text": text, "speaker": f"s{number % 50}"}
        writer.add(codes, row)
    writer.close()
    return TokenStore(folder)


def packed_rows(store: TokenStore, tokenizer: TextTokenizer) -> PackedDataset:
    """Open the loader as training does."""
    vocabulary = Vocabulary(tokenizer.vocab_size, 8192)
    return PackedDataset([store], tokenizer, vocabulary, seq_len=SEQ_LEN, batch_size=BATCH)


def text_model(folder: Path) -> TextTokenizer:
    """Train a text model of a few pieces."""
    texts = [" ".join(WORDS[k:] + WORDS[:k]) for k in range(len(WORDS))]
    return TextTokenizer.train(texts, folder, vocab_size=40)


def build_rows(size: str, folder: Path) -> dict[str, Contestant]:
    """Build batches of packed rows beside nanoGPT's; work is tokens, padding included."""
    store, tokenizer = token_store(folder / "store", CLIPS[size]), text_model(folder)
    return {
        "packed rows": Contestant(lambda: _row_batches(packed_rows(store, tokenizer)), _TOKENS),
        "flat tokens": Contestant(lambda: _flat_batches(store), _TOKENS),
    }


_TOKENS = float(BATCH * SEQ_LEN)


def _row_batches(rows: PackedDataset) -> Call:
    """A call that makes the next batch of an epoch, over and over."""
    # Within one epoch: the plan of the next is not the time of a batch.
    numbers = itertools.cycle(range(max(1, rows.rows_in_epoch(0) // BATCH)))
    return lambda: rows.batch(next(numbers))


def _flat_batches(store: TokenStore) -> Call:
    """A call that cuts inputs and targets at random from one mapped file, as nanoGPT does."""
    path = next(iter(sorted(store.folder.glob("*.u16"))))
    # One open map: nanoGPT opens it anew for each batch, which would flatter ours.
    flat = np.memmap(path, dtype="<u2", mode="r")

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        starts = torch.randint(len(flat) - SEQ_LEN, (BATCH,)).tolist()
        # (B, S) inputs, and targets a token later.
        parts = [torch.from_numpy(flat[i : i + SEQ_LEN].astype(np.int64)) for i in starts]
        later = [torch.from_numpy(flat[i + 1 : i + 1 + SEQ_LEN].astype(np.int64)) for i in starts]
        return torch.stack(parts), torch.stack(later)

    return call


def build_crops(size: str, folder: Path) -> dict[str, Contestant]:
    """Build crops of a second beside soundfile's seeking in WAV files; work is seconds of audio."""
    paths, store = _recordings(folder, RECORDINGS[size])
    seconds = CROPS * CROP_SAMPLES / RATE
    return {
        "crops": Contestant(lambda: _crops(store, 0.0), seconds),
        "crops at other speeds": Contestant(lambda: _crops(store, 0.1), seconds),
        "soundfile": Contestant(lambda: _read_crops(paths), seconds),
        "soxr": Contestant(_resampled_crops, seconds),
    }


def _recordings(folder: Path, count: int) -> tuple[list[Path], AudioStore]:
    """The same clips of 6 s as WAV files and as a prepared store."""
    paths = []
    with AudioStoreWriter(folder / "store", RATE) as writer:
        for number in range(count):
            waveform = hum(6.0, seed=number)
            paths.append(folder / f"{number}.wav")
            soundfile.write(paths[-1], waveform, RATE)
            writer.add(waveform, {"id": str(number)})
    return paths, AudioStore(folder / "store")


def _crops(store: AudioStore, speed: float) -> Call:
    """A call that makes the next batch of training crops, their speed changed at random."""
    batches = CropBatches(store, CROPS, CROP_SAMPLES, seed=0, speed=speed)
    numbers = itertools.count()
    return lambda: batches.batch(next(numbers))


def _read_crops(paths: list[Path]) -> Call:
    """A call that reads as many crops from random places of WAV files."""
    draw = np.random.default_rng(0)
    # The last sample at which a crop of a recording of 6 s can begin.
    most = 6 * RATE - CROP_SAMPLES

    def call() -> torch.Tensor:
        crops = [
            soundfile.read(
                paths[draw.integers(len(paths))],
                CROP_SAMPLES,
                start=int(draw.integers(most)),
                dtype="float32",
            )[0]
            for _ in range(CROPS)
        ]
        return torch.from_numpy(np.stack(crops))

    return call


def _resampled_crops() -> Call:
    """A call of the resampling alone, of as many crops in memory."""
    # 5 % faster: half of the range that the crops' speeds are drawn from.
    crop = hum(1.05)

    def call() -> list[object]:
        return [soxr.resample(crop, len(crop), CROP_SAMPLES, quality="MQ") for _ in range(CROPS)]

    return call


def build_planning(folder: Path) -> Callable[[float], Call]:
    """Build the planning of an epoch of so many utterances: drawing, packing, shuffling."""
    tokenizer = cache(lambda: text_model(folder))

    def make(count: float) -> Call:
        rows = packed_rows(token_store(folder / f"{count:g}", int(count)), tokenizer())
        epochs = itertools.count()
        # An epoch of its own every time: plans of earlier ones are kept.
        return lambda: rows.padding_fraction(next(epochs))

    return make


def build_opening(folder: Path) -> Callable[[float], Call]:
    """Build the opening of a store and a loader of so many utterances, up to the first batch."""
    tokenizer = cache(lambda: text_model(folder))

    def make(count: float) -> Call:
        token_store(folder / f"{count:g}", int(count))
        return lambda: packed_rows(TokenStore(folder / f"{count:g}"), tokenizer()).batch(0)

    return make


BENCHMARKS = (
    Benchmark(
        "loader.rows",
        "batches of 8 packed rows of 1024 tokens",
        "tokens",
        build_rows,
        (
            Figure(
                "packed rows",
                "flat tokens",
                "whole documents with text, positions and weights beside what nanoGPT does: cuts "
                "of one mapped file; below 1 is what the documents cost",
            ),
        ),
    ),
    Benchmark(
        "loader.crops",
        "batches of 16 crops of 1 s",
        "s of audio",
        build_crops,
        (
            Figure("crops", "soundfile", "crops of a prepared store beside WAV files"),
            Figure(
                "crops at other speeds",
                "soxr",
                "drawing, reading and resampling beside the resampling alone; 1 would be free",
            ),
        ),
    ),
)

_COUNTS = {
    "tiny": (20, 40, 80, 160),
    "small": (250, 500, 1000, 2000),
    "full": (1000, 2000, 4000, 8000, 16000, 32000),
}
CURVES = (
    CostCurve(
        "loader.planning",
        "plan an epoch: draw documents and pack them into rows of 1024 tokens",
        "utterances",
        _COUNTS,
        build_planning,
    ),
    CostCurve(
        "loader.opening",
        "open a token store and its loader, first batch included",
        "utterances",
        _COUNTS,
        build_opening,
    ),
)
