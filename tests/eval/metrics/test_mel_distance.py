"""MCD and SI-SDR."""

import numpy as np
import pytest

from eval.metrics.mel_distance import (
    MelCepstralMetric,
    cepstral_distance,
    mel_cepstral_distortion,
)
from eval.metrics.si_sdr import SiSdrMetric, si_sdr
from eval.protocols import Item, MetricError

RATE = 16000
LADDER_DB = (30, 20, 10, 0)


def item(reference, estimate):
    return Item("clip", reference, estimate, RATE)


def figure(metric, pair, name):
    value = metric.score(pair).values[name]
    assert value is not None
    return value


def test_identity_is_perfect(make_speech):
    speech = make_speech(sample_rate=RATE)
    assert figure(MelCepstralMetric(), item(speech, speech), "mcd_mel") == 0.0
    assert figure(SiSdrMetric(), item(speech, speech), "si_sdr") == 100.0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_noise_ladder_is_strictly_ordered(make_speech, add_noise, seed):
    speech = make_speech(seed=seed, sample_rate=RATE)
    pairs = [item(speech, add_noise(speech, snr)) for snr in LADDER_DB]
    assert all(np.diff([figure(MelCepstralMetric(), p, "mcd_mel") for p in pairs]) > 0.3)
    ratios = [figure(SiSdrMetric(), p, "si_sdr") for p in pairs]
    assert ratios == pytest.approx(LADDER_DB, abs=1.0)


def test_a_ripple_of_the_spectrum_is_its_rms_in_decibels():
    """On the classical scale, a cosine of amplitude a nats on one cepstrum is 20/ln10 a/sqrt 2."""
    bands = (np.arange(40) + 0.5)[:, None] * np.pi / 40
    flat = np.zeros((40, 3))
    for order in (1, 7, 24):
        rippled = flat + 0.3 * np.cos(order * bands)
        expected = 20 / np.log(10) * 0.3 / np.sqrt(2)
        assert cepstral_distance(flat, rippled) == pytest.approx([expected] * 3)
    assert cepstral_distance(flat, flat + 2.0) == pytest.approx([0.0] * 3)
    assert cepstral_distance(flat, flat + np.cos(25 * bands)) == pytest.approx([0.0] * 3)


def test_a_delay_that_is_no_whole_ms_costs_si_sdr_nothing(make_speech):
    speech = make_speech(sample_rate=RATE).astype(np.float64)
    late = np.concatenate((np.zeros(37), speech))[: speech.size]
    assert figure(SiSdrMetric(), item(speech, late), "si_sdr") > 60
    assert figure(SiSdrMetric(), item(speech, late), "lag_ms") == pytest.approx(37 / 16)


def test_the_level_of_a_copy_does_not_matter(make_speech, add_noise):
    speech = make_speech(sample_rate=RATE)
    noisy = add_noise(speech, 10)
    assert si_sdr(speech, 0.3 * noisy) == pytest.approx(si_sdr(speech, noisy), abs=1e-3)


def test_what_cannot_be_measured_is_refused(make_speech):
    speech = make_speech(sample_rate=RATE)
    with pytest.raises(MetricError, match="constant"):
        si_sdr(np.ones(100), np.ones(100))
    with pytest.raises(MetricError, match="16000 Hz"):
        mel_cepstral_distortion(speech, speech, 24000)
