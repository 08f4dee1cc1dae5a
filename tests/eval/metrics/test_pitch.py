"""Voicing and pitch agreement."""

import numpy as np
import pytest

from eval.metrics.pitch import (
    PitchAgreement,
    PitchMetric,
    compare_tracks,
    track_crepe,
    track_pitch,
)
from eval.metrics.readiness import status
from eval.protocols import Item, MetricError

RATE = 24000


def agreement_of(reference: np.ndarray, estimate: np.ndarray) -> PitchAgreement:
    """Agreement of two waveforms by swift-f0."""
    return compare_tracks(track_pitch(reference, RATE), track_pitch(estimate, RATE))


def test_a_glide_with_a_gap_is_tracked_within_ten_cents(make_glide):
    seconds, low, high = 1.2, 120.0, 240.0
    voice = make_glide(seconds, low, high, RATE)
    noise = 0.01 * np.random.default_rng(0).standard_normal(round(0.5 * RATE))
    f0, voiced = track_pitch(np.concatenate([voice, noise, voice]), RATE)
    time = np.arange(f0.size) * 256 / 16000
    inside = np.where(time < 1.45, time, time - 1.7)
    truth_voiced = (inside >= 0) & (inside < seconds)
    truth = np.where(truth_voiced, low * (high / low) ** (np.clip(inside, 0, seconds) / seconds), 1)
    agreement = compare_tracks((truth, truth_voiced), (f0, voiced))
    assert agreement.vuv_f1 > 0.95
    assert agreement.f0_cents is not None
    assert agreement.f0_cents < 10
    assert agreement.gross_error_rate == 0.0


def test_identity_agrees_fully(make_speech):
    speech = make_speech()
    agreement = agreement_of(speech, speech)
    assert (agreement.vuv_f1, agreement.f0_cents, agreement.gross_error_rate) == (1.0, 0.0, 0.0)


def test_hand_computed_tracks():
    """Voiced 1,2,3 against 2,3,4: F1 = 2*2 / 6; one frame an octave off, one 100 cents off."""
    yes, no = True, False
    reference = (np.array([100.0, 100, 100, 100]), np.array([yes, yes, yes, no]))
    estimate = (np.array([1.0, 200, 100 * 2 ** (1 / 12), 50]), np.array([no, yes, yes, yes]))
    agreement = compare_tracks(reference, estimate)
    assert agreement.vuv_f1 == pytest.approx(4 / 6)
    assert agreement.gross_error_rate == pytest.approx(0.5)
    assert agreement.f0_cents == pytest.approx(100.0)
    assert agreement.num_both_voiced == 2


def test_without_a_frame_voiced_in_both_the_pitch_error_is_undefined():
    f0 = np.array([100.0, 100.0])
    agreement = compare_tracks((f0, np.array([True, False])), (f0, np.array([False, True])))
    assert agreement.vuv_f1 == 0.0
    assert agreement.f0_cents is None
    assert agreement.gross_error_rate is None


def test_a_reference_without_voice_is_an_error():
    noise = 0.05 * np.random.default_rng(0).standard_normal(RATE)
    with pytest.raises(MetricError, match="voiced"):
        PitchMetric().score(Item("noise", noise, noise, RATE))


def test_a_semitone_shift_reads_as_a_hundred_cents(make_glide):
    low = make_glide(1.0, 150.0, 150.0, RATE)
    high = make_glide(1.0, 150.0 * 2 ** (1 / 12), 150.0 * 2 ** (1 / 12), RATE)
    assert agreement_of(low, high).f0_cents == pytest.approx(100.0, abs=5.0)


@pytest.mark.slow
def test_crepe_finds_a_steady_pitch_twice_the_same(make_glide):
    if status(PitchMetric("crepe")) != "ready":
        pytest.skip("torchcrepe is not installed")
    tone = make_glide(0.25, 150.0, 150.0, 16000)
    pitch, voiced = track_crepe(tone)
    assert voiced.mean() > 0.8
    assert np.abs(1200 * np.log2(pitch[voiced] / 150)).max() < 60
    again, _ = track_crepe(tone)
    np.testing.assert_array_equal(pitch, again)
