"""Verifiers of generated speech, by which the best of several is kept: word errors, speaker.

    hh-slm tts ... --best-of 4 --verifier recipes/verifiers.py:words

A recogniser or a speaker encoder that has chosen among candidates no longer measures them fairly:
report the word errors of `words`, or the similarity of `voice`, by another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from eval.metrics.normalizers import normalize_text
from eval.metrics.readiness import require_ready
from eval.metrics.speaker_encoders import RATE, ResemblyzerEncoder, SpeakerEncoder
from eval.metrics.speaker_similarity import SimilarityMetric
from eval.metrics.wer import WerMetric, word_edits
from eval.protocols import MetricError, Recognizer
from eval.recognition.pocketsphinx import PocketSphinxRecognizer
from eval.recognition.whisper_ctranslate2 import whisper_recognizer
from eval.sound import checked, resampled
from slm.generation.best_of import Verifier, likelihood
from slm.text.normalization import normalize_text as spoken_form


class WordVerifier:
    """Minus the word error rate of a recogniser; see `slm.generation.best_of.Verifier`.

    A candidate that cannot be recognised (silent, too short) has lost every word: -1.

    Raises:
        ValueError: The recogniser cannot run here.
    """

    def __init__(self, recognizer: Recognizer | None = None) -> None:
        self.recognizer = recognizer or PocketSphinxRecognizer()
        require_ready([WerMetric(self.recognizer)])

    def __call__(self, candidates: Sequence[Any], text: str, prompt: Any = None) -> list[float]:
        """Score candidates, 0 at best; all 0 for a text without a word."""
        # Recognisers write words: compare with the text as it is spoken.
        text = spoken_form(text)
        if not normalize_text(text):
            return [0.0] * len(candidates)
        return [-word_edits(text, self._recognized(each)).rate for each in candidates]

    def _recognized(self, candidate: Any) -> str:
        try:
            samples = checked(candidate.waveform, candidate.sample_rate, "candidate")
        except MetricError:
            return ""
        return self.recognizer.transcribe(samples, candidate.sample_rate)


class VoiceVerifier:
    """Speaker similarity to the prompt, a cosine; see `slm.generation.best_of.Verifier`.

    A candidate without a voice (silent, too short) has the lowest: -1.

    Args:
        sample_rate: Of prompts, Hz; None takes that of the candidates.
        encoder: Maps a waveform to a speaker embedding.

    Raises:
        ValueError: The encoder cannot run here.
    """

    def __init__(
        self, sample_rate: int | None = None, encoder: SpeakerEncoder | None = None
    ) -> None:
        self.sample_rate = sample_rate
        self.encoder = encoder or ResemblyzerEncoder()
        require_ready([SimilarityMetric(self.encoder)])

    def __call__(self, candidates: Sequence[Any], text: str, prompt: Any = None) -> list[float]:
        """Score candidates by their cosine; all 0 without a prompt."""
        if prompt is None or not len(candidates):
            return [0.0] * len(candidates)
        # A prompt without a voice can rank nothing: all candidates score alike.
        rate = self.sample_rate or candidates[0].sample_rate
        wanted = self._embedding(prompt, rate)
        if wanted is None:
            return [0.0] * len(candidates)
        voices = [self._embedding(each.waveform, each.sample_rate) for each in candidates]
        return [-1.0 if voice is None else float(voice @ wanted) for voice in voices]

    def _embedding(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray | None:
        try:
            samples = checked(waveform, sample_rate, "candidate")
            return self.encoder.embed(resampled(samples, sample_rate, RATE))
        except MetricError:
            return None


def make_verifiers(names: Sequence[str], words: Sequence[str] | None = None) -> dict[str, Verifier]:
    """Make verifiers by name, in order: "likelihood", "words", "words_whisper", "voice".

    Args:
        names: Some of them.
        words: Vocabulary of the recogniser; None for its US-English model.

    Raises:
        ValueError: An unknown name, or a verifier that cannot run here and what would mend it.
    """
    makers = {
        "likelihood": lambda: likelihood,
        "words": lambda: WordVerifier(PocketSphinxRecognizer(words)),
        "words_whisper": lambda: WordVerifier(whisper_recognizer()),
        "voice": VoiceVerifier,
    }
    unknown = [name for name in names if name not in makers]
    if unknown:
        raise ValueError(f"expected verifiers of {list(makers)}, got {unknown}")
    return {name: makers[name]() for name in names}


# Loaded once a process, at the first text.
_word_verifier = lru_cache(maxsize=1)(WordVerifier)
_whisper_verifier = lru_cache(maxsize=1)(lambda: WordVerifier(whisper_recognizer()))
_voice_verifier = lru_cache(maxsize=1)(VoiceVerifier)


def words(candidates: Sequence[Any], text: str, prompt: Any = None) -> list[float]:
    """Score by `WordVerifier`: `hh-slm tts --verifier recipes/verifiers.py:words`."""
    return _word_verifier()(candidates, text, prompt)


def words_whisper(candidates: Sequence[Any], text: str, prompt: Any = None) -> list[float]:
    """Score by Whisper's words: `hh-slm tts --verifier recipes/verifiers.py:words_whisper`."""
    return _whisper_verifier()(candidates, text, prompt)


def voice(candidates: Sequence[Any], text: str, prompt: Any = None) -> list[float]:
    """Score by `VoiceVerifier`: `hh-slm tts --verifier recipes/verifiers.py:voice`."""
    return _voice_verifier()(candidates, text, prompt)
