"""The mel front end of published models."""

import numpy as np
import pytest

from eval.metrics.slaney import slaney_filters, slaney_mel


def test_filters_have_unit_area_and_touch_each_other():
    filters = slaney_filters(16000, 2048, 40)
    assert filters.shape == (40, 1025)
    assert filters[10:].sum(axis=1) * 16000 / 2048 == pytest.approx(np.ones(30), rel=0.02)
    peaks = filters.argmax(axis=1)
    assert (np.diff(peaks) > 0).all()


def test_frames_are_centred_and_counted():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    mel = slaney_mel(tone, 16000, n_fft=400, hop_length=160, n_mels=40)
    assert mel.shape == (40, 101)
    middle = slaney_filters(16000, 400, 40)[:, 25]
    assert mel[:, 50].argmax() == middle.argmax()


def test_librosa_gives_the_same(make_speech):
    feature = pytest.importorskip("librosa").feature
    speech = make_speech(1.0, sample_rate=16000)
    theirs = feature.melspectrogram(y=speech, sr=16000, n_fft=321, hop_length=160, n_mels=120)
    ours = slaney_mel(speech, 16000, n_fft=321, hop_length=160, n_mels=120)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5 * theirs.max())
