"""A tiny training run, deterministic on the CPU, and one that kills its process."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from slm.data.config import DocumentSettings
from slm.data.packed_batch import PackedBatch
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore
from slm.data.vocabulary import Vocabulary
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer
from slm.training.config import TrainingSettings
from slm.training.fit import fit_speech_lm


class KillingRows(PackedDataset):
    """Rows that end the process at one batch, without a chance to tidy up."""

    killing_batch = -1

    def batch(self, index: int) -> PackedBatch:
        if index == self.killing_batch:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(index)


def train(folder: Path, store: Path, text: Path, killing_batch: int = -1) -> SpeechLM:
    """Twelve steps of two batches, with dropout, prompts and a checkpoint every five steps."""
    torch.set_num_threads(1)
    tokenizer = TextTokenizer.load(text)
    vocabulary = Vocabulary(tokenizer.vocab_size, 64, tokenizer.fingerprint)
    settings = DocumentSettings(min_prompt_codes=8, max_prompt_codes=16)
    rows = KillingRows(
        [TokenStore(store)], tokenizer, vocabulary, seq_len=128, batch_size=2, settings=settings
    )
    rows.killing_batch = killing_batch
    config = SpeechLMConfig.preset(
        "tiny",
        vocabulary=vocabulary.to_dict(),
        codec_fingerprint="codec-of-the-tests",
        frame_rate=23.4375,
        dropout=0.1,
        max_seq_len=128,
    )
    torch.manual_seed(0)
    return fit_speech_lm(
        SpeechLM(config),
        rows,
        folder,
        settings=TrainingSettings(
            max_steps=12, warmup_steps=3, accumulate=2, validate_every=4, checkpoint_every=5
        ),
        validation=list(rows.epoch_batches(0))[:1],
        accelerator="cpu",
        progress=False,
    )


def train_until_killed(folder: Path, store: Path, text: Path, batch: int) -> None:
    """Train until a batch is asked for, at which the process ends itself with SIGKILL."""
    train(folder, store, text, killing_batch=batch)
