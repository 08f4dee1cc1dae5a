"""Offline speech recognition with the US-English model inside the pocketsphinx wheel.

It tests whether the words survive, no more: far behind today's recognisers, it fails on accents
and on band-limiting that listeners hardly notice. Print its rate on the original recordings beside
every other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from codec.audio.pcm import as_integers
from eval.loading import LoadedMetric
from eval.sound import resampled

RATE = 16000
PADDING_SECONDS = 0.2
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# No limit on the states alive in a frame: a slightly lower error rate at about the same speed.
_OPEN_SETTINGS = {"maxhmmpf": -1}
# The search for the best path through the lattice finds silence where a closed vocabulary is
# spoken; a higher cost of a word keeps one word from being recognised as two. The trigrams, 65 MB,
# would be loaded and never asked.
_CLOSED_SETTINGS = {"bestpath": False, "wip": 0.1, "lm": None}


class PocketSphinxRecognizer(LoadedMetric):
    """Waveform to lower-case words, deterministic and independent of earlier waveforms.

    Args:
        words: Closed list of words that may follow each other in any order, such as `DIGITS`;
            None for the trigram language model of the wheel.
        grammar: A JSGF grammar instead of either, its public rule first.

    Raises:
        ValueError: Both `words` and `grammar`, no words, or a word without a pronunciation.
    """

    packages = (("pocketsphinx", "5.1."),)

    def __init__(self, words: Sequence[str] | None = None, *, grammar: str | None = None) -> None:
        if words is not None and grammar is not None:
            raise ValueError("expected words or a grammar, got both")
        if words is not None and not words:
            raise ValueError("expected at least one word, got an empty list")
        self.words = None if words is None else tuple(word.lower() for word in words)
        self.grammar = grammar

    @property
    def id(self) -> str:
        """Back end and, for a closed vocabulary, a hash of it."""
        closed = self._closed_grammar()
        if closed is None:
            return "pocketsphinx51"
        return f"pocketsphinx51-closed-{hashlib.sha256(closed.encode()).hexdigest()[:8]}"

    def _load(self) -> Any:
        """Load models and grammar, which takes about a second.

        Raises:
            ValueError: A word has no pronunciation, or the grammar does not parse.
        """
        module = import_module("pocketsphinx")
        closed = self._closed_grammar()
        settings = _OPEN_SETTINGS if closed is None else _CLOSED_SETTINGS
        decoder = module.Decoder(loglevel="FATAL", samprate=RATE, **settings)
        unknown = [word for word in self.words or () if decoder.lookup_word(word) is None]
        if unknown:
            raise ValueError(f"expected words of the dictionary of pocketsphinx, got {unknown}")
        if closed is not None:
            try:
                decoder.add_jsgf_string("closed", closed)
                decoder.activate_search("closed")
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"expected a JSGF grammar, got {closed!r:.80}") from error
        return decoder

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """Transcribe a waveform (T,), float in [-1, 1]; "" when no word is found."""
        self.prepare()
        signal = resampled(np.asarray(waveform, dtype=np.float64), sample_rate, RATE)
        # A little silence around clips that are cut close lowers the error rate slightly.
        signal = np.pad(signal, round(PADDING_SECONDS * RATE))
        pcm = as_integers(signal).tobytes()
        decoder = self._model
        decoder.start_utt()
        # The whole utterance at once: its mean cepstrum then comes from itself alone.
        decoder.process_raw(pcm, no_search=False, full_utt=True)
        decoder.end_utt()
        hypothesis = decoder.hyp()
        return hypothesis.hypstr if hypothesis is not None else ""

    def _closed_grammar(self) -> str | None:
        """JSGF of the closed vocabulary, None for the language model."""
        if self.words is None:
            return self.grammar
        return f"#JSGF V1.0; grammar closed; public <words> = ({' | '.join(self.words)})+;"
