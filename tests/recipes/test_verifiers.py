"""Verifiers of generated speech."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.protocols import MetricError
from recipes.verifiers import VoiceVerifier, WordVerifier, make_verifiers
from slm.generation.best_of import load_verifier, rank

RATE = 16000
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Candidate:
    """What verifiers look at."""

    waveform: np.ndarray
    truncated: bool = False
    sample_rate: int = RATE
    log_likelihood: float = -1.0
    codes: Any = (1,)


class LevelRecognizer:
    """Hears more words the louder it is."""

    id = "level"
    packages = ()

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        return " ".join(["one", "two", "three"][: round(10 * float(np.abs(waveform).max()))])


class LevelEncoder:
    """The voice is the level: an angle."""

    id = "level"
    packages = weights = ()
    alternative = ""
    is_large = False

    def prepare(self) -> None: ...

    def embed(self, waveform: np.ndarray) -> np.ndarray:
        angle = float(np.abs(waveform).max())
        if angle > 0.9:
            raise MetricError("the encoder hears no voice")
        return np.array([np.cos(angle), np.sin(angle)])


def at(level: float, **options: Any) -> Candidate:
    return Candidate(np.full(RATE, level, dtype=np.float32), **options)


def test_words_lost_cost_their_share_and_what_is_silent_has_lost_all() -> None:
    verifier = WordVerifier(LevelRecognizer())
    scores = verifier([at(0.3), at(0.1), at(0.0)], "One, two, three")
    assert scores == pytest.approx([0.0, -2 / 3, -1.0])
    assert verifier([at(0.3)], "...") == [0.0]


def test_a_voice_is_compared_with_the_prompt_and_nothing_without_one() -> None:
    verifier = VoiceVerifier(encoder=LevelEncoder())
    prompt = np.full(RATE, 0.5, dtype=np.float32)
    scores = verifier([at(0.5), at(0.2), at(0.0), at(0.95)], "text", prompt)
    assert scores == pytest.approx([1.0, np.cos(0.3), -1.0, -1.0])
    assert verifier([at(0.5)], "text", None) == [0.0]


def test_the_first_verifier_decides_and_the_second_among_equals() -> None:
    verifiers = {
        "words": WordVerifier(LevelRecognizer()),
        "voice": VoiceVerifier(encoder=LevelEncoder()),
    }
    candidates = [at(0.3, truncated=True), at(0.25), at(0.3), at(0.28), at(0.1)]
    prompt = np.full(RATE, 0.27, dtype=np.float32)
    assert rank(candidates, verifiers, "one two three", prompt).choice == 3


def test_unknown_and_missing_verifiers_are_refused_before_anything_is_spoken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match=r"expected verifiers of .*got \['mos'\]"):
        make_verifiers(["mos"])
    versions = "eval.metrics.readiness.package_versions"
    monkeypatch.setattr(versions, lambda names: dict.fromkeys(names, "0.0"))
    with pytest.raises(ValueError, match="pocketsphinx"):
        make_verifiers(["words"])


def test_they_can_be_named_on_the_command_line_of_the_language_model() -> None:
    for name in ("words", "voice"):
        found, verifier = load_verifier(f"{ROOT / 'recipes/verifiers.py'}:{name}")
        assert (found, callable(verifier)) == (name, True)


def test_a_text_is_compared_as_it_is_spoken() -> None:
    words = WordVerifier(LevelRecognizer())
    assert words([Candidate(np.full(RATE, 0.3))], "1, 2, 3") == [0.0]
