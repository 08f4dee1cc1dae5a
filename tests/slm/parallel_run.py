"""A tiny training run on one or more processes: `parallel_run.py FOLDER STORE TEXT OPTIONS`.

OPTIONS are JSON: devices, strategy and fields of TrainingSettings.
"""

import json
import sys
from pathlib import Path

import torch

from slm.config import DocumentSettings, Machines, SpeechLMConfig, TrainingSettings
from slm.dataset import PackedRows
from slm.model import SpeechLM
from slm.store import TokenStore
from slm.text import TextTokenizer
from slm.training import fit_speech_lm
from slm.vocabulary import Vocabulary


def train(folder: Path, store: Path, text: Path, options: dict) -> SpeechLM:
    """Steps of two batches of two rows with text in the loss, so that rows weigh unlike."""
    torch.set_num_threads(1)
    tokenizer = TextTokenizer.load(text)
    vocabulary = Vocabulary(tokenizer.vocab_size, 64, tokenizer.fingerprint)
    rows = PackedRows(
        [TokenStore(store)],
        tokenizer,
        vocabulary,
        seq_len=128,
        batch_size=2,
        settings=DocumentSettings(min_prompt_codes=8, max_prompt_codes=16, text_loss_weight=0.3),
    )
    config = SpeechLMConfig.preset(
        "tiny",
        vocabulary=vocabulary.to_dict(),
        codec_fingerprint="codec-of-the-tests",
        frame_rate=23.4375,
        max_seq_len=128,
    )
    torch.manual_seed(0)
    machines = Machines("cpu", options.pop("devices", 1), 1, options.pop("strategy", "auto"))
    given = {"max_steps": 4, "warmup_steps": 1, "accumulate": 2, "validate_every": 2}
    return fit_speech_lm(
        SpeechLM(config),
        rows,
        folder,
        settings=TrainingSettings(**{**given, **options}),
        validation=list(rows.epoch_batches(0))[:1],
        machines=machines,
        progress=False,
    )


if __name__ == "__main__":
    lm = train(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
    if torch.distributed.get_rank() == 0:
        lm.save_pretrained(Path(sys.argv[1]) / "model")
