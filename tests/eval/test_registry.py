"""The list of metrics."""

import pytest

from eval.protocols import Metric, MetricInfo, Score
from eval.quality import StoiMetric
from eval.registry import METRICS, make_metrics, obstacles, require_ready


class Fake:
    """A metric of a package that is not there."""

    def __init__(self, package, prefix):
        self.info = MetricInfo("fake.v1", "none", frozenset(), (), packages=((package, prefix),))

    def prepare(self):
        raise AssertionError("must not be reached")

    def score(self, item):
        return Score({})


def test_every_metric_is_ready_and_can_be_named_by_id():
    for name, factory in METRICS.items():
        metric = factory()
        assert isinstance(metric, Metric)
        assert obstacles(metric) == []
        assert make_metrics([metric.info.id])[0].info == make_metrics([name])[0].info


def test_ids_and_definitions_are_distinct():
    infos = [factory().info for factory in METRICS.values()]
    assert len({info.id for info in infos}) == len(infos)
    assert len({info.definition for info in infos}) == len(infos)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"\['stio'\]"):
        make_metrics(["stio"])


@pytest.mark.parametrize(
    ("package", "prefix", "match"),
    [("no-such-package", "1.", "pip install 'no-such-package==1"), ("pystoi", "9.", r"9\.x, got")],
)
def test_a_metric_that_cannot_run_is_refused_with_the_remedy(package, prefix, match):
    with pytest.raises(ValueError, match=match):
        require_ready([Fake(package, prefix)])


def test_an_id_twice_or_no_metric_is_refused():
    for metrics in ([], [StoiMetric(), StoiMetric()]):
        with pytest.raises(ValueError, match="every id once"):
            require_ready(metrics)
