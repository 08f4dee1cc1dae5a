"""Speech recognition by a Moonshine model in ONNX Runtime's form, whose weights a package carries.

A recogniser of another architecture, other training and other authors than Whisper (Jeffries et
al., https://arxiv.org/abs/2410.15608): what a codec or a language model that was trained with
Whisper gains for Whisper alone shows beside it. English alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from codec.error_text import message_of
from codec.files.reading import read_file
from codec.requirements import install_command
from eval.protocols import WeightSpec
from eval.weights import require_weight

from .guards import RecognizedWindow
from .windowed import RATE, WindowedRecognizer

ENCODER, DECODER, TOKENS = "encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin"
MOONSHINE = WeightSpec(
    "moonshine",
    "MIT",
    f"{install_command('moonshine-voice')}, which carries the English model of 27 M parameters "
    "(wheels for Linux with glibc 2.34, macOS 15 and Windows), or get a folder of another English "
    "one (python -m moonshine_voice.download --language en)",
    is_folder=True,
    bundled=("moonshine_voice", "assets/tiny-en"),
    files=(ENCODER, DECODER, TOKENS),
)
START, END = 1, 2
# Longest transcript: twice what the published code lets English have, which fast speech reaches.
TOKENS_PER_SECOND = 13
# The encoder's convolutions need 895 samples for a first position.
SHORTEST = round(0.1 * RATE)
_SPACE = "\u2581".encode()


class MoonshineRecognizer(WindowedRecognizer):
    """Waveform to words by greedy search, see `WindowedRecognizer`.

    Matrices are of int8: transcripts of a few clips differ between processors with and without
    instructions for them.

    Args:
        search_loops_again: Whether a window of loops is searched a second time.
    """

    packages = (("onnxruntime", "1."),)
    weights = (MOONSHINE,)
    alternative = "wer"

    def __init__(self, *, search_loops_again: bool = True) -> None:
        super().__init__(batch_size=1, search_loops_again=search_loops_again)

    @property
    def id(self) -> str:
        """Back end, search, version; the model itself is in the run, by its digest."""
        return f"moonshine_ort1-greedy-v{2 if self.search_loops_again else 1}"

    def _load(self) -> tuple[Any, Any, list[bytes]]:
        """Load encoder, decoder and vocabulary from their folder.

        Raises:
            ValueError: No folder was named, or it holds no such model.
        """
        import torch

        folder = require_weight(MOONSHINE)
        runtime = import_module("onnxruntime")
        options = runtime.SessionOptions()
        # As many threads as the process may use: one in a worker.
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            encoder, decoder = (
                runtime.InferenceSession(
                    str(folder / name), options, providers=["CPUExecutionProvider"]
                )
                for name in (ENCODER, DECODER)
            )
        # Errors of the runtime have no class in common below this one.
        except Exception as error:
            raise ValueError(
                f"expected a Moonshine model in {folder}: {message_of(error)}"
            ) from error
        return encoder, decoder, read_vocabulary(folder / TOKENS)

    def _recognize(self, parts: Sequence[np.ndarray], distinct: int = 0) -> list[RecognizedWindow]:
        """Recognise windows (T,) one after the other; see `WindowedRecognizer`."""
        vocabulary = self._model[2]
        rows = []
        for part in parts:
            tokens = self._search(part, distinct)
            data = b"".join(vocabulary[token] for token in tokens).replace(_SPACE, b" ")
            text = " ".join(data.decode(errors="replace").split())
            rows.append(RecognizedWindow(text, None, "english"))
        return rows

    def _search(self, part: np.ndarray, distinct: int) -> list[int]:
        """Search greedily for the tokens of a window (T,)."""
        encoder, decoder, _ = self._model
        # (1, T)
        samples = np.pad(part, (0, max(0, SHORTEST - part.size))).astype(np.float32)[None]
        mask = np.ones(samples.shape, np.int64)
        (states,) = encoder.run(None, {"input_values": samples, "attention_mask": mask})
        # Keys and values of each layer, of the tokens so far and of the encoder's positions, which
        # the first step computes: (1, heads, 0, channels) before it.
        past = {
            each.name: np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32)
            for each in decoder.get_inputs()
            if each.name.startswith("past_key_values.")
        }
        names = [output.name for output in decoder.get_outputs()]
        # The decoder takes the mask of the samples and thins it out to positions itself.
        shared = {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        tokens = [START]
        for step in range(max(1, round(TOKENS_PER_SECOND * samples.size / RATE))):
            latest = {
                "input_ids": np.array([tokens[-1:]], np.int64),
                "use_cache_branch": np.array([step > 0]),
            }
            found = dict(zip(names, decoder.run(None, {**shared, **past, **latest}), strict=True))
            scores = found.pop("logits")[0, -1]
            scores[_repeating(tokens, distinct)] = -np.inf
            tokens.append(int(scores.argmax()))
            if tokens[-1] == END:
                return tokens[1:-1]
            for name, value in found.items():
                # Later steps give no keys of the encoder's positions: they stay.
                if step == 0 or ".decoder." in name:
                    past[name.replace("present.", "past_key_values.")] = value
        return tokens[1:]


def _repeating(tokens: Sequence[int], distinct: int) -> list[int]:
    """Tokens that would end a run of `distinct` ones a second time; none for 0."""
    if distinct == 0:
        return []
    begun = list(tokens[len(tokens) - distinct + 1 :])
    starts = range(len(tokens) - distinct + 1)
    return [tokens[n + distinct - 1] for n in starts if list(tokens[n : n + distinct - 1]) == begun]


def read_vocabulary(path: Path) -> list[bytes]:
    """Read the text of every token: its count of bytes, which follow it.

    A count of 128 or more takes two bytes, its 128 lower values in the first.

    Raises:
        ValueError: The file ends within a token.
    """
    data, position = read_file(path), 0
    vocabulary = []
    while position < len(data):
        count = data[position]
        position += 1
        if count >= 128 and position < len(data):
            count += 128 * data[position] - 128
            position += 1
        if position + count > len(data):
            raise ValueError(f"expected whole tokens in {path}, got the end of the file in one")
        vocabulary.append(data[position : position + count])
        position += count
    return vocabulary
