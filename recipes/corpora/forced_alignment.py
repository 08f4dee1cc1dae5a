"""Forced alignment of English speech with its text, by the acoustic model inside pocketsphinx.

Two passes, as its documentation has it: words first, with their best pronunciation and the pauses
between them, then phones. Frames are 10 ms.

Any text can be forced onto any speech, so an alignment is compared with the phones that the same
model finds where no text is given: a text of other words agrees with them in few places, and a text
that is too short leaves speech over.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import soxr

from codec.audio.pcm import as_integers
from codec.requirements import install_command
from slm.data.alignment import Unit, aligned_units
from slm.text.lexicon import Lexicon
from slm.text.phone_tokenizer import PAUSE, words_and_pauses

RATE = 16000
FRAME = 0.01  # s
PADDING = 0.2  # s of silence around clips that are cut close
# Phones longer than this are not speech but an alignment that lost its way, s.
LONGEST_PHONE = 1.0
# Least share of the frames of speech with the aligned phone, and largest one in which the text has
# a pause, for a text to count as that of its clip: right texts of a reader had 0.36 and more, and
# 0.06 at most; of 240 wrong ones 10 have more than 0.22 and no such pauses. Of learners of English
# one right text in 43 lies between 0.2 and 0.22, one in 16 between 0.2 and 0.25.
LEAST_AGREEMENT, MOST_LEFT_OVER = 0.22, 0.16
# Frames by which the borders of phones may differ between the two.
_NEAR = 3

# Word with its phones, each with start and end in seconds of the clip.
Word = tuple[str, list[tuple[str, float, float]]]


class ScoredAlignment(NamedTuple):
    """The alignment of a clip.

    Attributes:
        units: End to end.
        score: Share of the frames of speech in which the phone that is found without the text is
            that of the text, 0 to 1.
    """

    units: list[Unit]
    score: float


class AlignmentError(ValueError):
    """A clip that could not be aligned, with the reason."""


class Aligner:
    """Aligns waveforms with texts; an alignment depends on its own clip alone.

    Args:
        lexicon: Pronounces words that pocketsphinx's own dictionary does not hold.

    Raises:
        ValueError: pocketsphinx is not installed (extra `eval`).
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._module = _pocketsphinx()
        self.lexicon = lexicon
        self._decoder: Any = None
        self._phone_decoder: Any = None

    def align(self, waveform: np.ndarray, sample_rate: int, text: str) -> ScoredAlignment:
        """Align a clip (T,), float in [-1, 1], with its text.

        Raises:
            AlignmentError: The text does not fit the audio, is that of other words or of a part of
                them, or has no word.
        """
        words = [item for item in words_and_pauses(text) if item != PAUSE]
        if not words:
            raise AlignmentError("no word in its text")
        if self._decoder is None:
            # The best path of a lattice may give a word fewer frames than it has states, as to the
            # one sound of "I": no phones are found in it then.
            self._decoder = self._module.Decoder(
                lm=None, loglevel="FATAL", samprate=RATE, bestpath=False
            )
        # Means and noise of the clips before would be those that this one begins with.
        self._decoder.reinit_feat()
        for word in words:
            self._add_word(word)
        # 16-bit samples at the model's rate, with silence around them.
        signal = np.asarray(waveform, dtype=np.float64)
        if sample_rate != RATE:
            signal = soxr.resample(signal, sample_rate, RATE, quality="HQ")
        signal = np.pad(signal, round(PADDING * RATE))
        pcm = as_integers(signal).tobytes()
        aligned = self._aligned(pcm, words)
        if [name for name, _ in aligned] != words:
            raise AlignmentError(f"aligned {len(aligned)} of {len(words)} words")
        longest = max(end - start for _, phones in aligned for _, start, end in phones)
        if longest > LONGEST_PHONE:
            raise AlignmentError(f"a phone of {longest:.2f} s")
        score = self._checked_agreement(pcm, aligned)
        return ScoredAlignment(aligned_units(text, aligned, len(waveform) / sample_rate), score)

    def units(self, waveform: np.ndarray, sample_rate: int, text: str) -> list[Unit]:
        """Align as `align` does, without the score."""
        return self.align(waveform, sample_rate, text).units

    def _checked_agreement(self, pcm: bytes, aligned: list[Word]) -> float:
        """The score of an alignment, refused where the text is not that of the clip."""
        found = self._phones(pcm)
        expected = [""] * len(found)
        for _, phones in aligned:
            for name, start, end in phones:
                first, last = (round((each + PADDING) / FRAME) for each in (start, end))
                expected[first:last] = [name] * len(expected[first:last])
        spoken = [frame for frame, name in enumerate(found) if name]
        if not spoken:
            raise AlignmentError("no speech is found in it")
        near = (expected[max(0, frame - _NEAR) : frame + _NEAR + 1] for frame in spoken)
        agreed = [found[frame] in names for frame, names in zip(spoken, near, strict=True)]
        score = sum(agreed) / len(spoken)
        left_over = sum(not expected[frame] for frame in spoken) / len(spoken)
        if left_over > MOST_LEFT_OVER:
            raise AlignmentError(
                f"expected all speech to be of its text, got {left_over:.0%} of it in the pauses"
            )
        if score < LEAST_AGREEMENT:
            raise AlignmentError(
                f"expected the sounds of its text in {LEAST_AGREEMENT:.0%} of the speech or more, "
                f"got {score:.0%}"
            )
        return round(score, 3)

    def _phones(self, pcm: bytes) -> list[str]:
        """The phone of every frame, found without a text; '' for silence and noise."""
        if self._phone_decoder is None:
            self._phone_decoder = self._module.Decoder(
                allphone=self._module.get_model_path("en-us/en-us-phone.lm.bin"),
                lm=None,
                loglevel="FATAL",
                samprate=RATE,
                # As the package's documentation has it for phones.
                lw=2.0,
                beam=1e-20,
                pbeam=1e-20,
            )
        self._phone_decoder.reinit_feat()
        _decode(self._phone_decoder, pcm)
        segments = list(self._phone_decoder.seg() or ())
        found = [""] * (max(segment.end_frame for segment in segments) + 1 if segments else 0)
        for segment in segments:
            if segment.word.isalpha() and segment.word != "SIL":  # noise is in plus signs
                frames = slice(segment.start_frame, segment.end_frame + 1)
                found[frames] = [segment.word] * len(found[frames])
        return found

    def _aligned(self, pcm: bytes, words: list[str]) -> list[Word]:
        """Words with their phones; times without the padding."""
        decoder = self._decoder
        try:
            decoder.set_align_text(" ".join(words))
            _decode(decoder, pcm)
            if decoder.hyp() is None:
                raise AlignmentError("the text does not fit the audio")
            # The second pass finds the phones of the words that the first has found.
            decoder.set_alignment()
            _decode(decoder, pcm)
            alignment = decoder.get_alignment()
        except RuntimeError as error:
            raise AlignmentError(f"the text does not fit the audio: {error}") from error
        if alignment is None:
            raise AlignmentError("no phones found")
        found = []
        for word in alignment:
            phones = [
                (phone.name, self._time(phone.start), self._time(phone.start + phone.duration))
                for phone in word
            ]
            # Pronunciations after the first end in their number: read(2).
            found.append((re.sub(r"\(\d+\)$", "", word.name), phones))
        # Silence and noise are words in brackets.
        return [(name, phones) for name, phones in found if not name.startswith(("<", "["))]

    def _time(self, frame: int) -> float:
        return max(0.0, frame * FRAME - PADDING)

    def _add_word(self, word: str) -> None:
        """Add a word to pocketsphinx's dictionary unless it is there."""
        if self._decoder.lookup_word(word) is None:
            try:
                phones = self.lexicon.phones(word)
            except ValueError as error:
                raise AlignmentError(str(error)) from error
            self._decoder.add_word(word, " ".join(phones), True)

    def __getstate__(self) -> dict[str, Any]:
        """State without the decoders, so that an aligner can be sent to a worker process."""
        return {**self.__dict__, "_decoder": None, "_phone_decoder": None, "_module": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _module=import_module("pocketsphinx"))


def dictionary_lines() -> list[str]:
    """Read the lines of the pronouncing dictionary inside the pocketsphinx wheel.

    Raises:
        ValueError: The package is missing.
    """
    path = _pocketsphinx().get_model_path("en-us/cmudict-en-us.dict")
    with open(path, encoding="utf-8") as lines:
        return lines.readlines()


def _decode(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, no_search=False, full_utt=True)
    decoder.end_utt()


def _pocketsphinx() -> Any:
    """The module.

    Raises:
        ValueError: It is not installed.
    """
    try:
        return import_module("pocketsphinx")
    except ImportError as error:
        raise ValueError(
            "expected the package pocketsphinx to align speech with text: "
            + install_command("pocketsphinx")
        ) from error
