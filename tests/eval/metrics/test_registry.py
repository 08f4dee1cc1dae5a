"""The list of metrics."""

import sys

import pytest

from eval.metrics.readiness import obstacles, require_ready, status, used_packages
from eval.metrics.registry import (
    INTELLIGIBILITY,
    METRICS,
    RECONSTRUCTION,
    WHERE_READY,
    all_metrics,
    make_metrics,
    select_metrics,
)
from eval.metrics.stoi import StoiMetric
from eval.protocols import Metric, MetricInfo, Score, WeightSpec


class Fake:
    """A metric that must not be reached."""

    def __init__(self, packages=(), weights=(), alternative="", name="fake"):
        self.info = MetricInfo(
            f"{name}.v1",
            "none",
            frozenset(),
            (),
            packages=packages,
            weights=weights,
            alternative=alternative,
        )

    def prepare(self):
        raise AssertionError("must not be reached")

    def score(self, item):
        return Score({})


MISSING = WeightSpec("no_such_weight", "CC0", "draw it yourself")


def test_metrics_of_the_small_extra_are_ready_and_all_can_be_named_by_id():
    metrics = {name: factory() for name, factory in METRICS.items()}
    for name, metric in metrics.items():
        assert isinstance(metric, Metric)
        assert metric.info.id.split(".")[0] == name
    for name in (*RECONSTRUCTION, *INTELLIGIBILITY):
        assert obstacles(metrics[name]) == []
        assert status(metrics[name]) == "ready"
    assert metrics.keys() >= set(WHERE_READY)
    by_id = make_metrics([metrics["stoi"].info.id, "estoi"])
    assert [metric.info.id for metric in by_id] == ["stoi.pystoi04", "estoi.pystoi04"]


def test_ids_and_definitions_are_distinct_and_alternatives_exist():
    infos = [factory().info for factory in METRICS.values()]
    assert len({info.id for info in infos}) == len(infos)
    assert len({info.definition for info in infos}) == len(infos)
    assert {info.alternative for info in infos} <= {"", *METRICS}


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"\['stio'\]"):
        make_metrics(["stoi", "stio"])


@pytest.mark.parametrize(
    ("package", "prefix", "match"),
    [
        ("no-such-package", "1.", r"pip install \"no-such-package==1\.\*"),
        ("pystoi", "9.", r"9\.x, got"),
    ],
)
def test_a_metric_that_cannot_run_is_refused_with_the_remedy(package, prefix, match):
    fake = Fake(packages=((package, prefix),))
    assert status(fake) == "package missing"
    with pytest.raises(ValueError, match=match):
        require_ready([fake])


def test_a_missing_weight_is_refused_with_licence_flag_and_alternative():
    fake = Fake(weights=(MISSING,), alternative="stoi")
    assert status(fake) == "weight missing"
    with pytest.raises(ValueError, match="no_such_weight") as refused:
        require_ready([fake])
    for part in ("CC0", "--weight no_such_weight=PATH", "--metrics=-fake", "offline instead: stoi"):
        assert part in str(refused.value)


def test_all_metrics_that_cannot_run_are_told_at_once_with_one_command():
    first, second = (
        Fake(name=name, packages=((f"no-such-{name}", "1."),)) for name in ("first", "second")
    )
    third = Fake(name="third", weights=(MISSING,), alternative="stoi")
    with pytest.raises(ValueError, match="3 metrics cannot run: ") as refused:
        require_ready([first, StoiMetric(), second, third])
    for part in (
        "first.v1: missing package no-such-first; ",
        "second.v1: missing package no-such-second; ",
        'packages of all: pip install "no-such-first==1.*" "no-such-second==1.*"',
        "--weight no_such_weight=PATH",
        "--metrics=-first,-second,-third",
        "--skip-unavailable",
        "offline instead of third: stoi",
    ):
        assert part in str(refused.value)
    assert str(refused.value).count("pip install") == 1


def test_of_a_recipe_its_own_setting_is_told_in_place_of_options_that_it_has_not():
    fake = Fake(weights=(MISSING,))
    with pytest.raises(ValueError, match=r"Or leave it out: metrics=\[stoi\]") as refused:
        require_ready([fake, StoiMetric()], setting="metrics")
    assert "--metrics" not in str(refused.value)
    assert "--skip-unavailable" not in str(refused.value)


def test_an_id_twice_or_no_metric_is_refused():
    for metrics in ([], [StoiMetric(), StoiMetric()]):
        with pytest.raises(ValueError, match="every id once"):
            require_ready(metrics)


@pytest.fixture
def with_fake(monkeypatch):
    monkeypatch.setitem(METRICS, "fake", lambda: Fake(weights=(MISSING,)))


def families(selection):
    return [metric.info.id.split(".")[0] for metric in selection.metrics]


@pytest.mark.usefixtures("with_fake")
def test_names_drops_and_the_default_set():
    default = ("stoi", "mel_l1")
    assert families(select_metrics(None, default)) == ["stoi", "mel_l1"]
    assert families(select_metrics("-stoi", default)) == ["mel_l1"]
    assert families(select_metrics("default,estoi,-mel_l1", default)) == ["stoi", "estoi"]
    assert families(select_metrics("estoi", default)) == ["estoi"]
    for wrong in ("-estoi", "-stoi,-mel_l1", "nothing"):
        with pytest.raises(ValueError, match="expected"):
            select_metrics(wrong, default)


@pytest.mark.usefixtures("with_fake")
def test_what_is_not_ready_stops_the_run_unless_left_out_by_name_or_by_default():
    with pytest.raises(ValueError, match="no_such_weight"):
        select_metrics("stoi,fake", ("stoi",))
    skipping = select_metrics("stoi,fake", ("stoi",), skip_unavailable=True)
    by_default = select_metrics(None, ("stoi",), where_ready=("fake",))
    for selection in (skipping, by_default):
        assert families(selection) == ["stoi"]
        assert "no_such_weight" in selection.skipped["fake"][0]
    with pytest.raises(ValueError, match="no_such_weight"):
        select_metrics("default,fake", ("stoi",), where_ready=("fake",))


@pytest.fixture
def foreign_distribution(monkeypatch, tmp_path):
    """Another package on the path that brings a metric by an entry point."""
    (tmp_path / "foreign_metrics.py").write_text(
        "from eval.metrics.stoi import StoiMetric\n"
        "class Foreign(StoiMetric):\n"
        "    pass\n"
        "def broken():\n"
        "    raise RuntimeError('no licence')\n"
    )
    info = tmp_path / "foreign_metrics-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-metrics\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda lines: (info / "entry_points.txt").write_text(f"[hh_slm.metrics]\n{lines}\n")
    sys.modules.pop("foreign_metrics", None)


def test_another_package_brings_a_metric(foreign_distribution):
    foreign_distribution("foreign = foreign_metrics:Foreign")
    assert "foreign_metrics" not in sys.modules
    assert set(all_metrics()) - set(METRICS) == {"foreign"}
    assert "foreign_metrics" not in sys.modules
    assert type(make_metrics(["foreign"])[0]).__name__ == "Foreign"


def test_a_name_of_ours_cannot_be_taken(foreign_distribution):
    foreign_distribution("stoi = foreign_metrics:Foreign")
    with pytest.raises(ValueError, match="'stoi' again"):
        all_metrics()


def test_versions_of_what_computes_are_listed():
    packages = used_packages(make_metrics(["stoi"]))
    assert packages.keys() >= {"numpy", "scipy", "soxr", "pystoi"}
    assert all(packages.values())
