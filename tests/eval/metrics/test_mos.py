"""DNSMOS and DistillMOS."""

from typing import Any

import numpy as np
import pytest

from eval.metrics.mos import DistillMosMetric, DnsMosMetric, windows
from eval.metrics.readiness import status
from eval.protocols import Item, MetricError

RATE = 16000


def item(estimate, reference=None):
    return Item("clip", reference, estimate, RATE)


def values(metric, pair) -> dict[str, Any]:
    """What a metric gives, all of it defined."""
    return metric.score(pair).values


@pytest.fixture(scope="module", params=[DnsMosMetric, DistillMosMetric])
def metric(request):
    made = request.param()
    if status(made) != "ready":
        pytest.skip(f"{made.info.id} is not installed")
    made.prepare()
    return made


def test_a_mos_is_on_the_scale_and_the_same_again(metric, make_speech):
    speech = make_speech(5.0, sample_rate=RATE)
    found = values(metric, item(speech))
    for figure in metric.info.figures:
        assert 0.9 <= found[figure.name] <= 5.1
    assert values(metric, item(speech)) == found


def test_noise_lowers_the_background_score_of_dnsmos(make_speech, add_noise):
    if status(DnsMosMetric()) != "ready":
        pytest.skip("not installed")
    speech = make_speech(5.0, sample_rate=RATE)
    metric = DnsMosMetric()
    clean, noisy = (values(metric, item(each)) for each in (speech, add_noise(speech, 0)))
    assert noisy["dnsmos_bak"] < clean["dnsmos_bak"] - 0.5


def test_silence_is_an_error_and_no_number(metric):
    with pytest.raises(MetricError, match="silent"):
        metric.score(item(np.zeros(RATE)))


def test_the_original_has_a_metric_of_its_own(make_speech):
    original, copy = DnsMosMetric("reference"), DnsMosMetric()
    assert original.info.needs == {"reference"}
    assert original.info.id != copy.info.id
    with pytest.raises(MetricError, match="reference"):
        original.score(item(make_speech(1.0, sample_rate=RATE))) if status(
            original
        ) == "ready" else pytest.skip("not installed")


@pytest.mark.parametrize(("seconds", "count"), [(0.5, 7), (5.0, 1), (9.5, 1), (10.5, 1), (12.2, 3)])
def test_short_clips_are_doubled_and_long_ones_cut_a_second_apart(seconds, count):
    signal = np.arange(round(seconds * RATE), dtype=np.float32)
    found = windows(signal)
    assert found.shape == (count, 144160)
    assert found[-1][0] == (count - 1) * RATE % signal.size
