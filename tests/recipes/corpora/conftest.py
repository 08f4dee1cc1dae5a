"""A sentence that eSpeak NG speaks, and what aligns it with its text."""

from __future__ import annotations

import numpy as np
import pytest

from recipes.corpora.espeak import VOICES, Espeak
from recipes.corpora.forced_alignment import Aligner
from slm.text.lexicon import Lexicon
from tests.support.builders import SPOKEN


@pytest.fixture(scope="module")
def waveform() -> np.ndarray:
    """`SPOKEN`, (T,) at 22,050 Hz."""
    with Espeak() as espeak:
        return espeak.speak(SPOKEN, VOICES[0])


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner(Lexicon({"bohtt": ("B", "OW", "T")}))
