"""Kokoro-82M: text to phones by eSpeak NG, phones and a voice to a waveform by ONNX Runtime.

The model (https://huggingface.co/hexgrad/Kokoro-82M, Apache-2.0) is read from a folder with its
ONNX file, `vocab.json` (the number of each letter) and `voices.npz` (a style of each voice for each
number of letters). Phones come from the library of eSpeak NG, GPL-3.0, which is loaded at run time
and only by who asks for this corpus (extra `kokoro`).
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.files.json_lines import iter_json_lines, read_lines
from codec.requirements import install_command

from .espeak import Espeak

SAMPLE_RATE = 24_000
LICENCE = "Apache-2.0"  # of the model, and so of what it speaks
MOST_LETTERS = 508
VOCABULARY, VOICES = "vocab.json", "voices.npz"
# Silence that is left before and after speech, s, and the level below the loudest that is silence.
MARGIN, SILENCE = 0.08, 0.01
_SMOOTH = 240  # samples, 10 ms

_MARKS = re.compile(r"(\s*[;:,.!?—…\"()“”]+\s*)")
# Phones of eSpeak NG as the letters that Kokoro was trained on, in the order of replacement.
_COMMON = {
    **{"ʲo": "jo", "ʲə": "jə", "ʲ": "", "tʃ": "ʧ", "dʒ": "ʤ"},
    **{"eɪ": "A", "aɪ": "I", "aʊ": "W", "ɔɪ": "Y"},  # noqa: RUF001
    **{"ɚ": "əɹ", "r": "ɹ", "x": "k", "ç": "k", "ɐ": "ə", "ɬ": "l", "\u0303": ""},
}
_AMERICAN = {
    **{"oʊ": "O", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪə": "iə"},
    **{"ː": "", "ɾ": "T", "ʔ": "t", "ɹɹ": "ɹ"},  # noqa: RUF001
}
_BRITISH = {"eə": "ɛː", "iə": "ɪə", "əʊ": "Q", "ɹɹ": "ɹ"}
# Voices of eSpeak NG by the first letter of a voice of Kokoro; others speak American English.
_ACCENTS = {"b": ("en", _BRITISH)}
_AMERICA = ("en-us", _AMERICAN)


class Kokoro:
    """The model, its voices and eSpeak NG; use as a context manager.

    Args:
        folder: With one ONNX file, vocab.json and voices.npz.

    Raises:
        ValueError: A package or a file is missing.
    """

    def __init__(self, folder: Path) -> None:
        path = model_file(folder)
        if importlib.util.find_spec("onnxruntime") is None:
            raise ValueError(f"corpus=kokoro needs onnxruntime: {install_command('onnxruntime')}")
        import onnxruntime

        self.letters: dict[str, int] = json.loads((folder / VOCABULARY).read_text("utf-8"))
        self.voices = read_voices(folder)
        options: Any = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # workers share the cores
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._espeak = Espeak()

    def __enter__(self) -> Kokoro:
        self._espeak.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._espeak.__exit__()

    def speak(self, text: str, shares: Mapping[str, float], speed: float) -> NDArray[np.float32]:
        """Synthesize a text.

        Args:
            text: English.
            shares: Voices and their shares of the style, which add up to 1; the accent is that of
                the first.
            speed: Of speech; 1 is the voice's own.

        Returns:
            (T,) float32 in [-1, 1] at 24 kHz, without the silence around it.

        Raises:
            ValueError: A voice that the model lacks, or a text without a sound.
        """
        self._require(shares)
        phones = self.phones(text, next(iter(shares)))
        if not self.spoken(phones):
            raise ValueError(f"expected a text with sounds, got {text!r}")
        return self.speak_phones(phones, shares, speed)

    def speak_phones(
        self, phones: str, shares: Mapping[str, float], speed: float
    ) -> NDArray[np.float32]:
        """Synthesize phones, as `phones` gives them; see `speak`.

        Raises:
            ValueError: A voice that the model lacks, or no letter that it knows.
        """
        self._require(shares)
        tokens = [self.letters[each] for each in self.spoken(phones)][:MOST_LETTERS]
        if not tokens:
            raise ValueError(f"expected phones in the letters of Kokoro, got {phones!r}")
        style = sum(share * self.voices[name][len(tokens)] for name, share in shares.items())
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": np.asarray(style, dtype=np.float32)[None],
            "speed": np.array([speed], dtype=np.float32),
        }
        waveform = np.asarray(self._session.run(None, inputs)[0], dtype=np.float32).ravel()
        return _trimmed(waveform)

    def spoken(self, phones: str) -> str:
        """The letters among phones and marks that the model knows; it passes over others."""
        return "".join(each for each in phones if each in self.letters)

    def _require(self, shares: Mapping[str, float]) -> None:
        missing = sorted(set(shares) - set(self.voices))
        if missing:
            raise ValueError(f"Kokoro has no voice {missing[0]!r}")

    def phones(self, text: str, voice: str) -> str:
        """A text's phones in the letters of Kokoro, with its marks, in the accent of a voice."""
        language, own = _ACCENTS.get(voice[0], _AMERICA)
        pieces = []
        # Marks are cut out, since eSpeak NG drops them, and stay where they are.
        for number, piece in enumerate(_MARKS.split(text)):
            is_mark = number % 2 == 1
            spaced = re.sub(r"\s+", " ", piece)
            pieces.append(spaced if is_mark else self._espeak.phones(piece, language))
        phones = "".join(pieces).strip()
        for old, new in (_COMMON | own).items():
            phones = phones.replace(old, new)
        return phones


def model_file(folder: Path) -> Path:
    """The one ONNX file of a model's folder.

    Raises:
        ValueError: There is none, or several, or a file beside it is missing.
    """
    found = sorted(folder.glob("*.onnx"))
    missing = [name for name in (VOCABULARY, VOICES) if not (folder / name).is_file()]
    if len(found) != 1 or missing:
        raise ValueError(
            f"kokoro.model: expected a folder with one .onnx file, {VOCABULARY} and {VOICES}, got "
            f"{folder} with {[path.name for path in found]} and without {missing}"
        )
    return found[0]


def read_voices(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Styles (510, 256) of every voice, by name."""
    with np.load(folder / VOICES) as file:
        return {name: file[name] for name in file.files}


def read_sentences(path: Path) -> list[str]:
    """The different sentences of a text file, one a line, or of JSON lines with `text`.

    Raises:
        ValueError: No such file, or nothing in it.
    """
    if not path.is_file():
        raise ValueError(f"kokoro.sentences: expected a text file, got {path}")
    if path.suffix == ".jsonl":
        lines = [row["text"] for _, row in iter_json_lines(path, required=("text",))]
    else:
        lines = [line for _, line in read_lines(path)]
    found = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise ValueError(f"kokoro.sentences: expected a sentence a line, got none in {path}")
    return found


def _trimmed(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut the silence around speech, and bring peaks beyond full scale to just below it."""
    level = np.convolve(np.abs(waveform), np.ones(_SMOOTH) / _SMOOTH, "same")
    loud = np.flatnonzero(level > SILENCE * level.max(initial=0.0))
    if len(loud) == 0:
        raise ValueError("expected speech of Kokoro, got silence")
    margin = round(MARGIN * SAMPLE_RATE)
    kept = waveform[max(0, loud[0] - margin) : loud[-1] + margin]
    return kept / max(1.0, float(np.abs(kept).max()) / 0.98)
