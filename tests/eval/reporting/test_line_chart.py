"""Charts as SVG."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from eval.reporting.line_chart import (
    Curve,
    Series,
    codebook_rank_curve,
    curve_svg,
    number_text,
    thinned,
)


def chart(**options):
    steps = np.arange(1, 101)
    return Curve("loss", "step", "nats", [Series("train", steps, 5.0 + 1.0 / steps)], **options)


def svg_of(curve):
    return ElementTree.fromstring(curve_svg(curve).split('<p class="legend"')[0])


def test_a_chart_is_valid_xml_with_every_line_inside_its_frame():
    root = svg_of(chart(levels={"unigram": 7.0}))
    lines = root.findall("polyline")
    assert len(lines) == 1
    points = np.array([p.split(",") for p in lines[0].attrib["points"].split()], dtype=float)
    assert points.min() >= 0
    assert points[:, 0].max() <= 400
    assert points[:, 1].max() <= 250
    assert len(root.findall("line[@class='level c1']")) == 1


def test_falling_values_go_down_the_page():
    points = svg_of(chart()).findall("polyline")[0].attrib["points"].split()
    heights = [float(point.split(",")[1]) for point in points]
    assert heights == sorted(heights)


def test_the_scale_is_log_where_values_span_decades():
    steps = np.arange(1, 50)
    wide = Curve("loss", "step", "nats", [Series("train", steps, 100.0 / steps**2)])
    assert "nats (log)" in curve_svg(wide)
    assert "nats (log)" not in curve_svg(chart())


def test_points_that_are_not_finite_are_counted():
    broken = Curve("loss", "step", "nats", [Series("train", [1, 2, 3], [1.0, np.nan, 2.0])])
    assert "1 points that are not finite left out" in curve_svg(broken)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-8, 1e9])
def test_a_single_point_and_a_flat_line_can_be_drawn(value):
    for steps, mark in (([0], "circle"), ([0, 1], "polyline")):
        root = svg_of(Curve("flat", "step", "x", [Series("a", steps, [value] * len(steps))]))
        assert len(root.findall(mark)) == 1


def test_no_point_is_no_chart():
    assert curve_svg(Curve("none", "step", "x", [Series("a", [], [])])) == ""


def test_series_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="train"):
        Series("train", [1, 2], [1.0])


def test_thinning_keeps_the_extremes_and_the_ends():
    x, y = np.arange(10000), np.zeros(10000)
    y[1234], y[8765] = 5.0, -5.0
    few_x, few_y = thinned(x, y)
    assert few_x.size <= 402
    assert (few_y.min(), few_y.max(), few_x[0], few_x[-1]) == (-5.0, 5.0, 0, 9999)


def test_rank_curve_sorts_and_says_what_is_used():
    curve = codebook_rank_curve(np.array([0, 3, 10, 0]))
    assert list(curve.series[0].y) == [10, 3]
    svg = curve_svg(curve)
    assert "2 of 4 used in 13 codes" in svg
    assert "occurrences (log)" in svg


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.91234, "", "0.912"),
        (12.345, "", "12.35"),
        (23.0, "", "23"),
        (12345.6, "", "12 346"),
        (0.1534, "%", "15.3 %"),
        (3.0, "ms", "3 ms"),
    ],
)
def test_numbers_read_well(value, unit, text):
    assert number_text(value, unit=unit) == text
