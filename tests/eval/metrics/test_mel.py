"""The mel front ends of the evaluation."""

import numpy as np
import pytest

from eval.metrics import mel
from eval.metrics.mel import (
    FLOOR,
    hz_to_mel,
    log_mel,
    mel_filters,
    mel_to_hz,
    slaney_filters,
    slaney_mel,
)


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 24000])
def test_frames_follow_the_length_formula(samples):
    assert log_mel(np.ones(samples)).shape == (100, samples // 256 + 1)


def test_silence_is_the_floor_everywhere():
    np.testing.assert_allclose(log_mel(np.zeros(2048)), np.log(FLOOR))


def test_a_tone_peaks_in_the_band_that_holds_it():
    tone = np.sin(2 * np.pi * 1000 * np.arange(24000) / 24000)
    band = int(log_mel(tone)[:, 40].argmax())
    centres = mel_to_hz(np.linspace(0, float(hz_to_mel(12000)), 102))[1:-1]
    assert abs(centres[band] - 1000) < 40


def test_mel_scale_inverts():
    frequencies = np.array([0.0, 440.0, 12000.0])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(frequencies)), frequencies, atol=1e-9)


def test_filters_overlap_to_one_between_the_outer_centres():
    filters = mel_filters(24000, 1024, 20)
    bins = np.linspace(0, 12000, 513)
    inner = (bins > bins[filters[0].argmax()] + 50) & (bins < bins[filters[-1].argmax()] - 50)
    np.testing.assert_allclose(filters[:, inner].sum(axis=0), 1.0, atol=1e-9)


def test_an_empty_waveform_is_refused():
    with pytest.raises(ValueError, match="T > 0"):
        log_mel(np.zeros(0))


def test_slaney_filters_have_unit_area_and_overlap():
    filters = slaney_filters(16000, 2048, 40)
    assert filters.shape == (40, 1025)
    assert filters[10:].sum(axis=1) * 16000 / 2048 == pytest.approx(np.ones(30), rel=0.02)
    peaks = filters.argmax(axis=1)
    assert (np.diff(peaks) > 0).all()


def test_slaney_frames_are_centred_and_counted():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    mel = slaney_mel(tone, 16000, n_fft=400, hop_length=160, n_mels=40)
    assert mel.shape == (40, 101)
    middle = slaney_filters(16000, 400, 40)[:, 25]
    assert mel[:, 50].argmax() == middle.argmax()


def test_librosa_gives_the_same_slaney_mel(make_speech):
    feature = pytest.importorskip("librosa").feature
    speech = make_speech(1.0, sample_rate=16000)
    theirs = feature.melspectrogram(y=speech, sr=16000, n_fft=321, hop_length=160, n_mels=120)
    ours = slaney_mel(speech, 16000, n_fft=321, hop_length=160, n_mels=120)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5 * theirs.max())


def test_long_waveforms_are_transformed_in_blocks_that_change_nothing(monkeypatch):
    waveform = np.random.default_rng(0).standard_normal(24000)
    whole, slaney = (
        log_mel(waveform),
        slaney_mel(waveform, 16000, n_fft=400, hop_length=160, n_mels=40),
    )
    monkeypatch.setattr(mel, "BLOCK", 10)
    np.testing.assert_allclose(log_mel(waveform), whole, rtol=0, atol=1e-12)
    blocks = slaney_mel(waveform, 16000, n_fft=400, hop_length=160, n_mels=40)
    np.testing.assert_allclose(blocks, slaney, rtol=1e-5)
