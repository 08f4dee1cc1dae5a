from dataclasses import replace

import pytest

import benchmarks.cases.registry as registry
from benchmarks.cases.registry import BENCHMARKS, CURVES, chosen
from benchmarks.harness.benchmark import SIZES
from benchmarks.harness.measure import Bench, measure, measure_curve
from benchmarks.harness.timing import processor_seconds
from tests.support.exported import exported as exported

# Processes that load torch, and an export.
SLOW = {"startup.import", "codec.onnx"}


def of(names):
    return [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in names]


@pytest.mark.parametrize("name", of(BENCHMARKS))
def test_every_benchmark_runs_and_gives_every_figure_of_its_size(name, request):
    benchmark = BENCHMARKS[name]
    if name == "codec.onnx":
        # Its own export, made half a minute long by whichever test needed it first.
        _, files = request.getfixturevalue("exported")
        benchmark = replace(benchmark, build=lambda size, _: BENCHMARKS[name].build(size, files))
    found = measure(benchmark, Bench("tiny", processor_seconds), rounds=1)
    assert {*found.figures, *found.skipped} == set(benchmark.of_size("tiny"))
    assert found.figures
    for figure in found.figures.values():
        assert figure.ratio > 0
        assert figure.ours_rate > 0


@pytest.mark.parametrize("name", CURVES)
def test_every_curve_runs(name):
    found = measure_curve(CURVES[name], Bench("tiny", processor_seconds), rounds=1)
    assert found.sizes == list(CURVES[name].points["tiny"])
    assert min(found.seconds) > 0


def test_every_figure_names_contestants_and_says_what_it_means(tmp_path):
    keys = [key for each in BENCHMARKS.values() for size in SIZES for key in each.of_size(size)]
    assert keys
    for benchmark in BENCHMARKS.values():
        assert len({benchmark.key(each) for each in benchmark.figures}) == len(benchmark.figures)
        for figure in benchmark.figures:
            assert figure.meaning
            assert set(figure.sizes) <= set(SIZES)
    for curve in CURVES.values():
        for points in curve.points.values():
            assert len(points) >= 4
            assert list(points) == sorted(set(points))


def test_parts_are_chosen_by_name():
    benchmarks, curves = chosen("small", ["loader", "codec.encode.length"])
    assert [each.name for each in benchmarks] == ["loader.rows", "loader.crops"]
    assert [each.name for each in curves] == [
        "codec.encode.length",
        "loader.planning",
        "loader.opening",
    ]
    everything = chosen("full")
    assert len(everything[0]) == len(registry.BENCHMARKS)
    assert len(everything[1]) == len(registry.CURVES)
    with pytest.raises(ValueError, match=r"codec.clip.*got codek"):
        chosen("small", ["codek"])
