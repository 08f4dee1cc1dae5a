"""STOI, ESTOI and the mel distance."""

import numpy as np
import pytest

from eval.metrics import stoi as stoi_module
from eval.metrics.mel_distance import MelDistanceMetric, mel_distance
from eval.metrics.stoi import StoiMetric, stoi
from eval.protocols import Item, MetricError

RATE = 24000
LADDER_DB = (30, 20, 10, 0)


def figure(metric, pair, name):
    value = metric.score(pair).values[name]
    assert value is not None
    return value


def item(reference, estimate):
    return Item("clip", reference, estimate, RATE)


@pytest.mark.parametrize(
    ("version", "name"),
    [("0.4.0", "pystoi040"), ("0.4.1", "pystoi04"), ("0.4.2", "pystoi042"), (None, "pystoi04")],
)
def test_ids_tell_releases_of_pystoi_apart(monkeypatch, version, name):
    monkeypatch.setattr(stoi_module, "package_versions", lambda _: {"pystoi": version})
    stoi_module._back_end.cache_clear()
    ids = [StoiMetric(extended).info.id for extended in (False, True)]
    stoi_module._back_end.cache_clear()
    assert ids == [f"stoi.{name}", f"estoi.{name}"]


def test_identity_is_perfect(make_speech):
    same = item(make_speech(), make_speech())
    for extended, name in ((False, "stoi"), (True, "estoi")):
        values = StoiMetric(extended).score(same).values
        assert values[name] == pytest.approx(1.0, abs=1e-6)
        assert values[f"{name}_raw"] == pytest.approx(1.0, abs=1e-6)
        assert values["lag_ms"] == 0.0
    assert MelDistanceMetric().score(same).values["mel_l1"] == 0.0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_noise_ladder_is_strictly_ordered(make_speech, add_noise, seed):
    speech = make_speech(seed=seed)
    pairs = [item(speech, add_noise(speech, snr)) for snr in LADDER_DB]
    for metric, name in ((StoiMetric(), "stoi"), (StoiMetric(extended=True), "estoi")):
        values = [figure(metric, pair, name) for pair in pairs]
        assert all(np.diff(values) < -0.005), (name, values)
    distances = [figure(MelDistanceMetric(), pair, "mel_l1") for pair in pairs]
    assert all(np.diff(distances) > 0.1), distances


def test_a_delay_costs_raw_stoi_and_not_aligned_stoi(make_speech):
    speech = make_speech(seed=5)
    late = np.concatenate([np.zeros(480, np.float32), speech])[: speech.size]
    aligned, raw, lag_ms = (
        figure(StoiMetric(), item(speech, late), name) for name in ("stoi", "stoi_raw", "lag_ms")
    )
    assert lag_ms == pytest.approx(20, abs=1)
    assert aligned > 0.98
    assert raw < aligned - 0.1


def test_doubling_every_band_is_log_two_away(make_speech):
    """A gain of 2 moves every bin by ln 2, but those on the floor in both."""
    loud = make_speech() + 0.01 * np.random.default_rng(0).standard_normal(make_speech().size)
    assert mel_distance(loud, 2 * loud, RATE) == pytest.approx(np.log(2), abs=1e-6)


def test_too_little_speech_is_an_error_and_no_number():
    burst = np.zeros(24000)
    burst[:2400] = 0.1 * np.random.default_rng(0).standard_normal(2400)
    with pytest.raises(MetricError, match="too little"):
        stoi(burst, burst, RATE)


def test_a_copy_that_is_digitally_silent_in_part_scores_the_same_twice(make_speech):
    """pystoi adds noise of 1e-16, which alone is left of a silent segment: ESTOI was a draw."""
    speech = make_speech(3.0).astype(np.float64)
    cut = speech.copy()
    cut[RATE : 2 * RATE] = 0.0
    np.random.seed(1)  # noqa: NPY002
    first = stoi(speech, cut, RATE, extended=True)
    drawn = np.random.standard_normal()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert stoi(speech, cut, RATE, extended=True) == first
    # The global generator is left as it was.
    assert np.random.standard_normal() == drawn  # noqa: NPY002
    assert stoi(speech, cut, RATE, extended=True) == first
