"""Pitch and energy statistics of a continuation."""

import numpy as np
import pytest

from eval.metrics.prosody import ProsodyMetric, distribution_distance, prosody
from eval.protocols import Item, MetricError

RATE = 16000


def score(estimate, reference):
    return ProsodyMetric().score(Item("a", reference, estimate, RATE)).values


def test_speech_has_no_distance_to_itself_and_gain_adds_none(make_speech):
    speech = make_speech(2.0, sample_rate=RATE)
    values = score(0.5 * speech, speech)
    assert values["pitch_distance"] == pytest.approx(0.0, abs=0.1)
    assert values["energy_distance"] == pytest.approx(0.0, abs=1e-3)


def test_an_octave_is_twelve_semitones(make_glide):
    low, high = (make_glide(1.5, f, f * 1.02, RATE) for f in (110, 220))
    values = score(high, low)
    assert values["pitch_distance"] == pytest.approx(12.0, abs=0.2)
    assert values["pitch_shift"] == pytest.approx(12.0, abs=0.2)


def test_monotone_speech_has_less_spread(make_glide):
    flat, moving = make_glide(1.5, 120, 121, RATE), make_glide(1.5, 90, 240, RATE)
    change = score(flat, moving)["pitch_spread_change"]
    assert change is not None
    assert change < -2.0


def test_distance_of_shifted_samples_is_the_shift():
    values = np.random.default_rng(0).normal(size=50)
    assert distribution_distance(values + 3.0, values) == pytest.approx(3.0)


def test_noise_has_no_prosody():
    with pytest.raises(MetricError, match="voiced"):
        prosody(0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
