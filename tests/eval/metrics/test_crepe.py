"""CREPE as papers use it."""

import numpy as np
import pytest

from eval.metrics.crepe import CrepePitchMetric, track_crepe
from eval.metrics.registry import status


@pytest.mark.slow
def test_a_steady_pitch_is_found_twice_the_same(make_glide):
    if status(CrepePitchMetric()) != "ready":
        pytest.skip("torchcrepe is not installed")
    tone = make_glide(0.25, 150.0, 150.0, 16000)
    pitch, voiced = track_crepe(tone)
    assert voiced.mean() > 0.8
    assert np.abs(1200 * np.log2(pitch[voiced] / 150)).max() < 60
    again, _ = track_crepe(tone)
    np.testing.assert_array_equal(pitch, again)
