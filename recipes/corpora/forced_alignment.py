"""Forced alignment of English speech with its text, by the acoustic model inside pocketsphinx.

Two passes, as its documentation has it: words first, with their best pronunciation and the pauses
between them, then phones. Frames are 10 ms.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

import numpy as np

from eval.sound import resampled
from slm.data.alignment import Unit, aligned_units
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PAUSE, words_and_pauses

RATE = 16000
FRAME = 0.01  # s
PADDING = 0.2  # s of silence around clips that are cut close
# Phones longer than this are not speech but an alignment that lost its way, s.
LONGEST_PHONE = 1.0


class AlignmentError(ValueError):
    """A clip that could not be aligned; says why."""


class Aligner:
    """Waveform and text to units of speech; deterministic, clip by clip.

    Args:
        lexicon: Says words that pocketsphinx's own dictionary does not hold.

    Raises:
        ValueError: pocketsphinx is not installed (extra `eval`).
    """

    def __init__(self, lexicon: Lexicon) -> None:
        try:
            self._module = import_module("pocketsphinx")
        except ImportError as error:
            raise ValueError(
                "expected the package pocketsphinx to align speech with text: "
                "pip install 'hh-slm[eval]'"
            ) from error
        self.lexicon = lexicon
        self._decoder: Any = None

    def units(self, waveform: np.ndarray, sample_rate: int, text: str) -> list[Unit]:
        """Units of a clip (T,), float in [-1, 1], that says `text`.

        Raises:
            AlignmentError: The text does not fit the sound, or has no word.
        """
        words = [item for item in words_and_pauses(text) if item != PAUSE]
        if not words:
            raise AlignmentError("no word in its text")
        names = [self._known(word) for word in words]
        signal = resampled(np.asarray(waveform, dtype=np.float64), sample_rate, RATE)
        signal = np.pad(signal, round(PADDING * RATE))
        pcm = np.round(np.clip(signal, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
        said = self._aligned(pcm, names)
        if [name for name, _ in said] != names:
            raise AlignmentError(f"aligned {len(said)} of {len(names)} words")
        longest = max(end - start for _, phones in said for _, start, end in phones)
        if longest > LONGEST_PHONE:
            raise AlignmentError(f"a phone of {longest:.2f} s")
        pairs = [(word, phones) for word, (_, phones) in zip(words, said, strict=True)]
        return aligned_units(text, pairs, len(waveform) / sample_rate)

    def _aligned(
        self, pcm: bytes, names: list[str]
    ) -> list[tuple[str, list[tuple[str, float, float]]]]:
        """Words with their phones, starts and ends in seconds of the clip without its padding."""
        decoder = self._decoder
        try:
            decoder.set_align_text(" ".join(names))
            self._hear(pcm)
            if decoder.hyp() is None:
                raise AlignmentError("the text does not fit the sound")
            decoder.set_alignment()
            self._hear(pcm)
            alignment = decoder.get_alignment()
            if alignment is None:
                raise AlignmentError("no phones found")
            words = [
                (
                    re.sub(r"\(\d+\)$", "", word.name),
                    [
                        (
                            phone.name,
                            self._time(phone.start),
                            self._time(phone.start + phone.duration),
                        )
                        for phone in word
                    ],
                )
                for word in alignment
            ]
        except RuntimeError as error:
            raise AlignmentError(f"the text does not fit the sound: {error}") from error
        return [(name, phones) for name, phones in words if not name.startswith(("<", "["))]

    def _hear(self, pcm: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(pcm, no_search=False, full_utt=True)
        self._decoder.end_utt()

    def _time(self, frame: int) -> float:
        return max(0.0, frame * FRAME - PADDING)

    def _known(self, word: str) -> str:
        """The word as pocketsphinx's dictionary has it, after adding it where it does not."""
        if self._decoder is None:
            self._decoder = self._module.Decoder(lm=None, loglevel="FATAL", samprate=RATE)
        if self._decoder.lookup_word(word) is None:
            try:
                said = self.lexicon.phones(word)
            except ValueError as error:
                raise AlignmentError(str(error)) from error
            self._decoder.add_word(word, " ".join(said), True)
        return word

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the decoder behind, so that an aligner can be sent to a worker process."""
        return {**self.__dict__, "_decoder": None, "_module": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _module=import_module("pocketsphinx"))


def dictionary_lines() -> list[str]:
    """The lines of the pronouncing dictionary inside the pocketsphinx wheel.

    Raises:
        ValueError: The package is missing.
    """
    try:
        module = import_module("pocketsphinx")
    except ImportError as error:
        raise ValueError(
            "expected the package pocketsphinx for its dictionary: pip install 'hh-slm[eval]'"
        ) from error
    with open(module.get_model_path("en-us/cmudict-en-us.dict"), encoding="utf-8") as lines:
        return lines.readlines()
