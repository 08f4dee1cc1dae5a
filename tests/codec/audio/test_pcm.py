"""16-bit samples of waveforms: full scale, clipping, both ways."""

from __future__ import annotations

import numpy as np
import pytest

from codec.audio.pcm import as_integers, as_waveform


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_are_clipped_to_full_scale(dtype: type[np.floating]) -> None:
    samples = as_integers(np.array([-2.0, -1.0, 0.0, 1.0, 1.5], dtype=dtype))
    assert samples.dtype == np.dtype("<i2")
    assert samples.tolist() == [-32767, -32767, 0, 32767, 32767]


def test_every_sample_survives_the_way_to_a_waveform_and_back() -> None:
    samples = np.arange(-32767, 32768).astype("<i2")
    np.testing.assert_array_equal(as_integers(as_waveform(samples)), samples)
