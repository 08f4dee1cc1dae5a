"""Tiny training runs of one process among several, one after the other.

Their options are `devices`, `strategy` and fields of TrainingSettings; `code_table` makes the
codes' embeddings from vectors; `failing_rank` gets no batch but the first; `ended_rank` gets
SIGTERM in the first batch of its third step. The gradients of the first step lie in a run's
`gradients.safetensors`, the model that was trained in its `model`. `python -m ... STORE TEXT FOLDER
OPTIONS`, of which the last is JSON, makes one run.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file

import slm.training.fit
from codec.distributed import process_rank
from codec.runtime.run_trainer import TERMINATED
from slm.data.config import DocumentSettings
from slm.data.packed_batch import PackedBatch
from slm.data.packed_dataset import PackedDataset
from slm.data.token_store import TokenStore
from slm.data.vocabulary import Vocabulary
from slm.model.code_init import init_codes_from_codebook
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM
from slm.text.sentencepiece_tokenizer import TextTokenizer
from slm.training.config import Machines, TrainingSettings
from slm.training.fit import fit_speech_lm
from slm.training.module import SpeechLMTraining

CODEBOOK = 64


class FailingRows(PackedDataset):
    """Rows that cannot be read any more after the first batch."""

    def batch(self, index: int) -> PackedBatch:
        if index > 0:
            raise OSError(f"batch {index} cannot be read")
        return super().batch(index)


class RecordingTraining(SpeechLMTraining):
    """Training that keeps the gradients of its first step, whole and before clipping."""

    folder: Path
    ends = False

    def training_step(self, *given: Any) -> Any:
        if self.ends and self.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().training_step(*given)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.global_step == 0:
            found = {}
            for name, parameter in self.lm.named_parameters():
                gradient: Any = parameter.grad
                assert gradient is not None, name
                whole = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
                found[name] = whole.clone()
            if process_rank() == 0:
                save_file(found, self.folder / "gradients.safetensors")
        super().on_before_optimizer_step(optimizer)


def train(folder: Path, store: Path, text: Path, options: Mapping[str, Any]) -> SpeechLM:
    """Steps of two batches of two rows with text in the loss, so that rows weigh unlike."""
    torch.set_num_threads(1)
    options = dict(options)
    tokenizer = TextTokenizer.load(text)
    vocabulary = Vocabulary(tokenizer.vocab_size, CODEBOOK, tokenizer.fingerprint)
    failing = options.pop("failing_rank", None) == process_rank()
    rows = (FailingRows if failing else PackedDataset)(
        [TokenStore(store)],
        tokenizer,
        vocabulary,
        seq_len=128,
        batch_size=2,
        settings=DocumentSettings(min_prompt_codes=8, max_prompt_codes=16, text_loss_weight=0.3),
    )
    code_table = options.pop("code_table", 0)
    config = SpeechLMConfig.preset(
        "tiny",
        vocabulary=vocabulary.to_dict(),
        codec_fingerprint="codec-of-the-tests",
        frame_rate=23.4375,
        max_seq_len=128,
        code_table=code_table,
        codebook_dim=4 if code_table else 0,
    )
    torch.manual_seed(0)
    lm = SpeechLM(config)
    if code_table:
        init_codes_from_codebook(lm, torch.randn(CODEBOOK, 4))
    machines = Machines("cpu", options.pop("devices", 1), 1, options.pop("strategy", "auto"))
    given = {"max_steps": 4, "warmup_steps": 1, "accumulate": 2, "validate_every": 2}
    RecordingTraining.folder = folder
    RecordingTraining.ends = options.pop("ended_rank", None) == process_rank()
    with patch.object(slm.training.fit, "SpeechLMTraining", RecordingTraining):
        return fit_speech_lm(
            lm,
            rows,
            folder,
            settings=TrainingSettings(**{**given, **options}),
            validation=list(rows.epoch_batches(0))[:1],
            machines=machines,
            progress=False,
        )


def train_all(store: Path, text: Path, jobs: Mapping[Path, Mapping[str, Any]]) -> None:
    """Make a run of each folder and its options, and save what was trained.

    One that is ended with SIGTERM then goes on.
    """
    for folder, options in jobs.items():
        options = dict(options)
        if "ended_rank" in options:
            try:
                train(folder, store, text, options)
            except SystemExit as error:
                assert error.code == TERMINATED  # noqa: PT017 - in no test, but in each process
            assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 3
            del options["ended_rank"]
        lm = train(folder, store, text, options)
        if process_rank() == 0:
            lm.save_pretrained(folder / "model")


def main(argv: Sequence[str]) -> None:
    """Make the run that a command line names."""
    store, text, folder = map(Path, argv[:3])
    train_all(store, text, {folder: json.loads(argv[3])})


if __name__ == "__main__":
    main(sys.argv[1:])
