import pytest

from benchmarks.harness.machine import file_name
from benchmarks.harness.records import write_records
from benchmarks.regression import Baseline, changes, falls, find_baseline, not_compared, settle


@pytest.fixture
def against(tmp_path, make_record):
    """`against({"a": 3.0})`: a baseline of these ratios."""

    def make(ratios, exponents=None):
        return Baseline(tmp_path / "a.json", make_record(ratios, exponents))

    return make


def never(names, factor):
    raise AssertionError(f"measured again: {names}")


def test_a_fall_of_more_than_a_third_is_named_and_a_smaller_one_is_not(against, make_record):
    before = against({"a": 3.0, "b": 3.0, "c": 3.0})
    now = make_record({"a": 1.99, "b": 2.01, "c": 9.0})
    assert list(falls(now, before)) == ["a"]
    assert falls(now, before)["a"].startswith(
        "a: 1.99 (1.49 to 2.49, 5 rounds), was 3 (2.25 to 3.75)"
    )
    assert changes(now, before) == pytest.approx({"a": 0.6633, "b": 0.67, "c": 3.0}, abs=1e-3)


def test_a_curve_falls_when_it_is_steeper_and_worse_than_linear(against, make_record):
    before = against({}, {"flat": 0.2, "line": 1.0, "steep": 1.3, "gone": 1.0})
    now = make_record({}, {"flat": 0.9, "line": 1.5, "steep": 1.4, "new": 2.0})
    assert list(falls(now, before)) == ["line"]
    assert "exponent 1.50" in falls(now, before)["line"]
    assert not_compared(now, before) == ["gone", "new"]


def test_a_false_alarm_is_cleared_by_measuring_again(against, make_record):
    asked = []

    def again(names, factor):
        asked.append((list(names), factor))
        return make_record({"a": 1.0 if factor == 2 else 2.9}).figures, {}

    record, found = settle(make_record({"a": 1.0, "b": 3.0}), against({"a": 3.0, "b": 3.0}), again)
    assert found == {}
    assert asked == [(["a"], 2), (["a"], 4)]
    assert record.figures["a"].ratio == 2.9
    assert record.figures["b"].ratio == 3.0


def test_what_stays_down_has_fallen(against, make_record):
    again = lambda names, factor: (make_record({"a": 1.1}).figures, {})  # noqa: E731
    record, found = settle(make_record({"a": 1.0}), against({"a": 3.0}), again)
    assert list(found) == ["a"]
    assert record.figures["a"].ratio == 1.1


def test_nothing_is_measured_again_where_nothing_fell(against, make_record):
    record = make_record({"a": 3.0})
    assert settle(record, against({"a": 3.0}), never) == (record, {})


def test_the_results_of_this_processor_alone_are_compared_with(tmp_path, make_record):
    old = make_record({"a": 1.0}, cpu="Intel(R) Xeon(R), model 1")
    new = make_record({"a": 2.0}, cpu="AMD EPYC, model 2", date="2026-12-01T00:00:00+00:00")
    for record in (old, new):
        write_records(tmp_path / file_name(record.cpu), {"small": record})
    found = find_baseline(tmp_path, "small", old.cpu, 1)
    assert found is not None
    assert found.record == old
    assert find_baseline(tmp_path, "small", "Another", 1) is None
    for suite, threads in (("full", 1), ("small", 2)):
        with pytest.raises(ValueError, match=f"suite {suite} with {threads} threads"):
            find_baseline(tmp_path, suite, old.cpu, threads)
