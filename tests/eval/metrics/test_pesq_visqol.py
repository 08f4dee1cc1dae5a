"""PESQ and ViSQOL."""

from typing import Any

import numpy as np
import pytest

from eval.metrics.pesq_visqol import PesqMetric, VisqolMetric, pesq_wideband
from eval.metrics.readiness import status
from eval.protocols import Item, MetricError

RATE = 16000


def ready(metric):
    if status(metric) != "ready":
        pytest.skip(f"{metric.info.id} is not installed")
    return metric


def item(reference, estimate):
    return Item("clip", reference, estimate, RATE)


def values(metric, pair) -> dict[str, Any]:
    """What a metric gives, all of it defined."""
    return metric.score(pair).values


def test_pesq_knows_its_reference_and_orders_a_noise_ladder(make_speech, add_noise):
    metric, speech = ready(PesqMetric()), make_speech(2.0, sample_rate=RATE)
    same = values(metric, item(speech, speech))["pesq_wb"]
    assert same == pytest.approx(4.644, abs=0.001)
    ladder = [
        values(metric, item(speech, add_noise(speech, snr)))["pesq_wb"] for snr in (40, 25, 10)
    ]
    assert 4.644 > ladder[0] > ladder[1] > ladder[2] >= 1.0


def test_pesq_gives_no_number_for_what_it_cannot_score(make_speech):
    """The package has a negative code for silence, which must never reach a mean."""
    ready(PesqMetric())
    speech, silence = make_speech(1.0, sample_rate=RATE), np.zeros(RATE)
    for pair in ((silence, speech), (speech, silence), (speech[:1000], speech[:1000])):
        with pytest.raises(MetricError, match="PESQ cannot score"):
            pesq_wideband(*pair)


def test_pesq_refuses_a_code_in_place_of_a_score(monkeypatch):
    class Package:
        class PesqError(RuntimeError):
            pass

        @staticmethod
        def pesq(*_):
            return -1.0

    monkeypatch.setattr("eval.metrics.pesq_visqol.import_module", lambda _: Package)
    with pytest.raises(MetricError, match="got -1"):
        pesq_wideband(np.ones(10), np.ones(10))


def test_visqol_needs_the_lattice():
    assert [package for package, _ in VisqolMetric().info.packages] == [
        "visqol-python",
        "ai-edge-litert",
    ]


@pytest.mark.slow
def test_visqol_knows_its_reference(make_speech, add_noise):
    metric, speech = ready(VisqolMetric()), make_speech(3.0, sample_rate=RATE)
    same, noisy = (
        values(metric, item(speech, each))["visqol"] for each in (speech, add_noise(speech, 5))
    )
    # The polynomial that the package falls back to gives 5.0 for the reference itself.
    assert 4.0 < same < 4.6
    assert noisy < same - 1.0
