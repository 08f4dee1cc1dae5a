"""Pairs of speech and the same speech in noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from eval.scoring.pair import Pair
from eval.sound import Sound
from tests.eval.scoring.scored import RATE


@pytest.fixture(scope="session")
def pairs(
    make_speech: Callable[..., np.ndarray], add_noise: Callable[..., np.ndarray]
) -> list[Pair]:
    clips = [make_speech(1.2, seed=seed) for seed in range(4)]
    return [
        Pair(f"clip{n}", Sound(clip, RATE), Sound(add_noise(clip, 10 + n), RATE), "one two")
        for n, clip in enumerate(clips)
    ]
