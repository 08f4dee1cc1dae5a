"""Probabilities of codes given those before them, the same for who writes and who reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from codec.files import sha256_of
from slm.engines.engine import best_engine, open_engine
from slm.engines.native import can_run
from slm.engines.native_build import is_available
from slm.model.config import SpeechLMConfig
from slm.model.speech_lm import SpeechLM, pretrained_folder

from .frequencies import frequencies_of

# Settings of drawing and of training: they change no probability.
_OTHER_FIELDS = (
    *("temperature", "top_p", "dropout", "code_dropout", "codes_per_character"),
    "transcribes",  # came later: it must change no fingerprint of before
)
_VERSION = 1  # of what is computed from the weights; another is another fingerprint


class CodeModel:
    """A language model as the predictor of an arithmetic coder.

    Attributes:
        config: Of the language model.
        fingerprint: 16 hex digits of its stored weights and sizes.
        codebook_size: Codes are below it.

    Args:
        lm: In eval mode, on the CPU.
        fingerprint: See there.
    """

    def __init__(self, lm: SpeechLM, fingerprint: str) -> None:
        self._lm, self.config, self.fingerprint = lm, lm.config, fingerprint
        vocabulary = lm.vocabulary
        self.codebook_size = vocabulary.codebook_size
        self._outputs = (range(vocabulary.code_start, vocabulary.vocab_size),)

    @classmethod
    def from_pretrained(cls, path_or_repo: Path | str) -> CodeModel:
        """Load a model from a folder, from the package or from a hub.

        Raises:
            ValueError: It is not there or does not fit its config.
        """
        folder = pretrained_folder(path_or_repo)
        lm = SpeechLM.from_pretrained(folder)
        return cls(lm, model_fingerprint(folder))

    @property
    def best_engine(self) -> str:
        """Name of the fastest engine on this machine."""
        return "native" if best_engine(self._lm) == "native" else "torch"

    def require_engine(self, engine: str) -> None:
        """Refuse an engine that cannot run here.

        Raises:
            ValueError: It needs a C++ compiler, or covers another model.
        """
        if engine == "native" and not (can_run(self._lm) and is_available()):
            raise ValueError(
                "expected a C++ compiler (g++ or clang++), with whose code the file was compressed,"
                " got none that works here"
            )

    def predictor(self, engine: str) -> CodePredictor:
        """Begin a recording."""
        self.require_engine(engine)
        return CodePredictor(self._lm, self._outputs, engine)


class CodePredictor:
    """Frequencies of the next code of one recording.

    Once the model's context is full it begins again with the last half of the codes it held.

    Args:
        lm: The model.
        outputs: Its code tokens.
        engine: "torch" or "native".
    """

    def __init__(self, lm: SpeechLM, outputs: tuple[range, ...], engine: str) -> None:
        self._lm, self._outputs, self._engine_name = lm, outputs, engine
        vocabulary = lm.vocabulary
        self._start = [vocabulary.bos_id, vocabulary.speech_id]
        self._first = vocabulary.code_start
        self._codes: list[int] = []
        self._begin()

    def frequencies(self) -> NDArray[np.int64]:
        """Frequencies (codebook_size,) of the next code."""
        with reproducible():
            logits = self._engine.logits(self._hidden, self._outputs)  # (1, N)
        return frequencies_of(logits[0].numpy())

    def read(self, code: int) -> None:
        """Take the code that came."""
        self._codes.append(code)
        longest = self._lm.config.max_seq_len
        if len(self._start) + len(self._codes) > longest:
            self._codes = self._codes[-(longest // 2) :]
            self._begin()
            return
        with reproducible():
            self._hidden = self._engine.decode(torch.tensor([self._first + code]))

    def _begin(self) -> None:
        """Open an engine on the codes that are kept."""
        tokens = [*self._start, *(self._first + code for code in self._codes)]
        with reproducible():
            self._engine = open_engine(
                self._lm, 1, self._lm.config.max_seq_len, engine=self._engine_name
            )
            self._hidden = self._engine.prefill([torch.tensor(tokens)])


@contextmanager
def reproducible() -> Iterator[None]:
    """One thread and no autograd: what is computed does not depend on the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(threads)


def model_fingerprint(folder: Path) -> str:
    """16 hex digits of a model's stored weights and of the settings that change probabilities."""
    fields = asdict(SpeechLMConfig.load(folder / "config.yaml"))
    kept = {name: value for name, value in fields.items() if name not in _OTHER_FIELDS}
    text = json.dumps([_VERSION, kept, sha256_of(folder / "model.safetensors")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
