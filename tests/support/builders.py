"""Tiny codecs, models and trainings that the tests of several files share."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from codec import CodecConfig, HHCodec
from codec.training import codebook
from codec.training.config import DiscriminatorConfig, LossWeights, PhaseConfig
from codec.training.data import CropBatches
from codec.training.discriminators import Discriminators
from codec.training.module import CodecTraining
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore, TokenStoreWriter
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.text.tokenizer import Tokenizer
from slm.training.config import TrainingSettings
from slm.training.fit import fit_speech_lm

# Parts that a loss of log-mels trains.
BEFORE_VOCODER = ("encoder", "quantizer", "decoder")
DISCRIMINATORS = DiscriminatorConfig(periods=(), n_ffts=(256,), channels=2)
# Every kind of step of a codec: codes from step 4, discriminators from step 2.
JOINT = PhaseConfig(
    name="joint",
    steps=10,
    batch_size=2,
    crop_codes=4,
    quantize_from=4,
    adversarial_from=2,
    warmup_steps=2,
    weights=LossWeights(mel=1.0, vq=1.0, waveform_mel=1.0, adversarial=0.1, feature_matching=0.1),
    discriminators=DISCRIMINATORS,
)
# Of a language model.
SETTINGS = TrainingSettings(
    max_steps=4, warmup_steps=1, validate_every=2, checkpoint_every=2, learning_rate=3e-3
)

SENTENCE = "the quick brown fox jumps over a lazy dog while rain falls on seven green hills"
# What eSpeak NG speaks for tests of alignments.
SPOKEN = "The old man found a red boat."
CODEBOOK_SIZE = 64
# How Llama 3.1 slows its rotary pairs down, at a length of tests.
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
FINGERPRINT = "codec-of-the-tests"
# Has a process die of opening a recording named `poison...`.
STAND_IN = """
import os
import soundfile

opened = soundfile.SoundFile.__init__

def open_or_die(self, file, *arguments, **options):
    if "poison" in str(file):
        os._exit(9)
    opened(self, file, *arguments, **options)

soundfile.SoundFile.__init__ = open_or_die
"""


@contextmanager
def few_latents(most: int = 16) -> Iterator[None]:
    """Fill codebooks and estimate statistics from a quarter of the crops, enough for tiny ones.

    Encoding all of them takes two thirds of a tiny training's time.
    """
    whole = codebook._latents

    def few(
        codec: HHCodec, batches: CropBatches, device: torch.device, num_batches: int
    ) -> Iterator[torch.Tensor]:
        return whole(codec, batches, device, min(num_batches, most))

    with patch.object(codebook, "_latents", few):
        yield


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    """Read the metrics that a training left in its folder, a line an entry."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def free_port() -> int:
    """Find a port of this machine that nothing listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def new_codec() -> HHCodec:
    """Make a tiny codec of always the same random weights."""
    torch.manual_seed(5)
    return HHCodec(CodecConfig.preset("tiny"))


def discriminators_of(module: CodecTraining) -> Discriminators:
    """Return the discriminators of a training that must have some."""
    assert module.discriminators is not None
    return module.discriminators


def new_lm(codec: HHCodec, tokenizer: Tokenizer, **overrides: Any) -> SpeechLM:
    """Make a tiny language model of a codec's codes and a tokenizer's text."""
    vocabulary = Vocabulary(tokenizer.vocab_size, codec.codebook_size, tokenizer.fingerprint)
    torch.manual_seed(0)
    return SpeechLM(
        SpeechLMConfig.preset(
            "tiny",
            vocabulary=vocabulary.to_dict(),
            codec_fingerprint=codec.fingerprint,
            frame_rate=codec.frame_rate,
            **overrides,
        )
    )


def fit(lm: SpeechLM, rows: PackedDataset, folder: Path, **changes: Any) -> SpeechLM:
    """Train a language model by `SETTINGS` with changes, on the CPU."""
    settings = replace(SETTINGS, **changes)
    return fit_speech_lm(lm, rows, folder, settings=settings, accelerator="cpu", progress=False)


def write_corpus(folder: Path, items: int = 24) -> TokenStore:
    """Write arithmetic codes in four voices, each a step width; every sixth row has no text."""
    generator = np.random.default_rng(0)
    writer = TokenStoreWriter(
        folder,
        codec_fingerprint=FINGERPRINT,
        codebook_size=CODEBOOK_SIZE,
        frame_rate=23.4375,
        shard_codes=300,
    )
    for item in range(items):
        length = int(generator.integers(20, 60))
        codes = (generator.integers(CODEBOOK_SIZE) + (1 + item % 4) * np.arange(length)) % 64
        text = " ".join(generator.choice(SENTENCE.split(), 4)) if item % 6 else ""
        writer.add(codes, {"id": f"u{item}", "text": text, "speaker": f"s{item % 4}"})
    writer.close()
    return TokenStore(folder)


def write_whisper(path: Path, bands: int = 8) -> Path:
    """Write a Whisper model of 16 channels and random weights, its words the letters."""
    import transformers  # seconds to load, and an extra

    special = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"]
    vocabulary = {chr(97 + n): n for n in range(26)} | {s: 26 + n for n, s in enumerate(special)}
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    (path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.WhisperTokenizer(
        str(path / "vocab.json"), str(path / "merges.txt"), additional_special_tokens=special
    )
    features = transformers.WhisperFeatureExtractor(feature_size=bands)
    transformers.WhisperProcessor(features, tokenizer).save_pretrained(path)
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=bands,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        d_model=16,
        max_target_positions=448,
        bos_token_id=26,
        eos_token_id=26,
        pad_token_id=26,
        decoder_start_token_id=27,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=26,
        eos_token_id=26,
        pad_token_id=26,
        decoder_start_token_id=27,
        max_length=20,
        no_timestamps_token_id=28,
    )
    model.save_pretrained(path)
    return path


def store_files(folder: Path) -> dict[str, bytes]:
    """Every file of the token stores of a folder, by name."""
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for path in sorted(folder.glob("*/*"))
        if path.is_file()
    }
