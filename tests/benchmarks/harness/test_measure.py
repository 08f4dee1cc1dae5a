import pytest

from benchmarks.harness.measure import Bench, measure, measure_curve


@pytest.fixture
def small(clock):
    return Bench("small", clock)


def test_a_figure_is_made_of_work_and_seconds(toy, small):
    found = measure(toy(ours=(0.5,), other=(2.0,)), small)
    figure = found.figures["toy/ours:other"]
    assert (figure.ratio, figure.ours_rate, figure.other_rate) == (4.0, 4.0, 1.0)
    assert (figure.low, figure.high, figure.rounds, figure.unit) == (4.0, 4.0, 5, "s")


def test_a_peer_that_is_not_installed_is_listed_and_the_rest_is_measured(toy, clock):
    found = measure(toy(), Bench("full", clock))
    assert found.skipped == {"toy/ours:absent": "pip install absent"}
    assert list(found.figures) == ["toy/ours:other"]


def test_only_what_is_asked_for_is_made_and_with_as_many_rounds(toy, clock):
    bench = Bench("full", clock)
    assert measure(toy(), bench, keys=["another"]).figures == {}
    assert clock.log == []
    found = measure(toy(), bench, rounds=9, keys=["toy/ours:other"])
    assert found.figures["toy/ours:other"].rounds == 9
    assert found.skipped == {}


def test_a_curve_takes_the_fastest_round_of_each_point(toy_curve, small):
    found = measure_curve(toy_curve(2.0), small)
    assert found.sizes == [1, 2, 4, 8]
    assert found.seconds == [1.0, 4.0, 16.0, 64.0]
    assert found.exponent == pytest.approx(2.0)
    assert found.worse_than_linear
