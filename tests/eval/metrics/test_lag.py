"""Lag estimation and cutting."""

import numpy as np
import pytest

from eval.metrics.lag import aligned_pair, estimate_lag, shifted
from eval.protocols import Item, MetricError

RATE = 24000


def delayed(waveform, lag_ms):
    offset = round(abs(lag_ms) * RATE / 1000)
    if lag_ms >= 0:
        return np.concatenate([np.zeros(offset), waveform])[: waveform.size]
    return np.concatenate([waveform[offset:], np.zeros(offset)])


@pytest.mark.parametrize("lag_ms", [-40, -5, 0, 1, 3, 18, 60])
def test_lag_is_recovered_within_a_millisecond(make_speech, add_noise, lag_ms):
    speech = make_speech(seed=3)
    copy = delayed(add_noise(speech, 20), lag_ms)
    assert abs(estimate_lag(speech, copy, RATE) - lag_ms) <= 1


def test_lag_ignores_level_and_polarity(make_speech):
    speech = make_speech(seed=4)
    assert abs(estimate_lag(speech, -0.3 * delayed(speech, 25), RATE) - 25) <= 1


@pytest.mark.parametrize("lag_ms", [-10, 0, 10])
def test_shifted_undoes_a_known_lag(make_speech, lag_ms):
    speech = make_speech()
    reference, estimate = shifted(speech, delayed(speech, lag_ms), RATE, lag_ms)
    assert reference.size == speech.size - abs(lag_ms) * RATE // 1000
    np.testing.assert_allclose(reference, estimate)


def test_pairs_of_very_different_lengths_are_refused(make_speech):
    speech = make_speech()
    with pytest.raises(MetricError, match=r"reference 2\.40 s, estimate 2\.00 s"):
        aligned_pair(Item("a", speech, speech[: 2 * RATE], RATE), 16000)


def test_a_missing_waveform_is_refused(make_speech):
    with pytest.raises(MetricError, match="as estimate, got none"):
        aligned_pair(Item("a", make_speech(), None, RATE), 16000)
