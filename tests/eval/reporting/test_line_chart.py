"""Line charts as SVG and as PNG."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.reporting.line_chart import (
    COLORS,
    INK,
    LineChart,
    Series,
    codebook_rank_chart,
    line_chart,
    save_line_charts,
)
from eval.scoring.summary import number_text

SVG = "{http://www.w3.org/2000/svg}"


def loss_chart(**options: Any) -> LineChart:
    steps = np.arange(1, 101)
    series = [Series("train", steps, 5.0 + 1.0 / steps)]
    return LineChart("loss", "step", "nats", series, **options)


def texts_of(chart: LineChart) -> list[str]:
    """Every text of a chart's SVG, which must be valid XML."""
    root = ElementTree.fromstring(line_chart(chart))
    return ["".join(element.itertext()).strip() for element in root.iter(f"{SVG}text")]


def paths_of(chart: LineChart) -> dict[str, np.ndarray]:
    """Points (N, 2) of the first path of each colour of a chart, by the colour."""
    found: dict[str, np.ndarray] = {}
    for path in ElementTree.fromstring(line_chart(chart)).iter(f"{SVG}path"):
        color = re.search(r"stroke: var\(--(c\d)", path.get("style", ""))
        if color:
            numbers = re.findall(r"-?\d+(?:\.\d+)?", path.attrib["d"])
            found.setdefault(color[1], np.array(numbers, dtype=float).reshape(-1, 2))
    return found


def test_a_chart_names_its_axes_lines_and_levels() -> None:
    texts = texts_of(loss_chart(levels={"unigram": 7.0}, bands={"likely": (5.0, 6.5)}))
    for text in ("step", "nats", "train: 5.010", "unigram: 7", "likely: 5 to 6.500", "20", "100"):
        assert text in texts


def test_lines_lie_inside_the_frame_and_fall_where_values_fall() -> None:
    points = paths_of(loss_chart())["c0"]
    assert points.min() >= 0
    assert (points.max(axis=0) <= [400, 265]).all()
    assert (np.diff(points[:, 1]) >= 0).all()


def test_a_chart_has_the_colours_of_the_page_and_no_background() -> None:
    svg = line_chart(loss_chart(levels={"a": 1.0}, bands={"b": (1.0, 2.0)}))
    assert "currentColor" in svg
    assert INK not in svg
    for number, color in enumerate(COLORS[:3]):
        assert f"var(--c{number}, {color})" in svg
    filled = re.findall(r"fill: (?!none)([^;\"]*)", svg)
    assert set(filled) == {"currentColor", f"var(--c2, {COLORS[2]})"}


def test_the_same_chart_is_the_same_text_without_links_or_dates() -> None:
    chart = loss_chart(levels={"a": 1.0})
    svg = line_chart(chart)
    assert svg == line_chart(chart)
    assert "url(" not in svg
    assert "metadata" not in svg
    dotted = LineChart("dots", "x", "y", [Series("a", [1, 2], [1.0, 2.0], "points")])
    for link in re.findall(r'href="([^"]*)"', line_chart(dotted)):
        assert link.startswith("#")


def test_charts_of_one_page_have_ids_of_their_own() -> None:
    series = [Series("a", [1, 2], [1.0, 2.0], "points")]
    ids = [
        set(re.findall(r'id="([^"]*)"', line_chart(LineChart(title, "x", "y", series))))
        for title in ("first", "second")
    ]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_the_scale_is_log_where_values_span_decades() -> None:
    steps = np.arange(1, 50)
    wide = LineChart("loss", "step", "nats", [Series("train", steps, 100.0 / steps**2)])
    assert "nats (log)" in texts_of(wide)
    assert "nats (log)" not in texts_of(loss_chart())


def test_points_that_are_not_finite_are_counted() -> None:
    broken = LineChart("loss", "step", "nats", [Series("train", [1, 2, 3], [1.0, np.nan, 2.0])])
    assert "1 points that are not finite left out" in texts_of(broken)


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-8, 1e9])
def test_a_single_point_and_a_flat_line_can_be_drawn(value: float) -> None:
    for steps in ([0], [0, 1]):
        flat = LineChart("flat", "step", "x", [Series("a", steps, [value] * len(steps))])
        assert f"a: {number_text(value)}" in texts_of(flat)


def test_dots_have_their_texts_and_intervals() -> None:
    series = Series(
        "a", [1, 2, 3], [1.0, 2.0, 3.0], "both", ["x", "", "z"], [0, 1, np.nan], [2] * 3
    )
    chart = LineChart("dots", "p", "q", [series], x_scale="linear", y_scale="linear")
    assert {"x", "z"} <= set(texts_of(chart))
    assert line_chart(chart).count("stroke-opacity: 0.55") == 2


def test_a_named_colour_is_kept_and_a_nameless_line_stays_out_of_the_legend() -> None:
    series = [Series("a", [1, 2], [1.0, 2.0], color=4), Series("", [1, 2], [3.0, 3.0], "dashed")]
    chart = LineChart("two", "p", "q", series, show_last=False)
    assert set(paths_of(chart)) == {"c4", "c1"}
    assert sum(text == "a" for text in texts_of(chart)) == 1
    assert "3" not in texts_of(chart)[-1]


def test_titles_are_escaped() -> None:
    chart = LineChart('a < "b"', "<x>", "y & z", [Series("<s>", [1, 2], [1.0, 2.0])])
    assert {"<x>", "y & z", "<s>: 2"} <= set(texts_of(chart))


def test_no_point_is_no_chart() -> None:
    assert line_chart(LineChart("none", "step", "x", [Series("a", [], [])])) == ""
    assert line_chart(LineChart("none", "step", "x", [])) == ""


def test_series_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="train"):
        Series("train", [1, 2], [1.0])
    with pytest.raises(ValueError, match="expected 2 labels, got 1"):
        Series("train", [1, 2], [1.0, 2.0], labels=["a"])


def test_a_long_line_keeps_its_extremes_in_a_short_text() -> None:
    x, y = np.arange(50_000), np.zeros(50_000)
    y[12_345], y[40_000] = 5.0, -5.0
    chart = LineChart("long", "step", "y", [Series("a", x, y)])
    short = LineChart("long", "step", "y", [Series("a", [0, 49_999], [5.0, -5.0])])
    drawn, ends = paths_of(chart)["c0"], paths_of(short)["c0"]
    assert len(drawn) < 100
    assert drawn[:, 1].min() == pytest.approx(ends[:, 1].min(), abs=0.5)
    assert drawn[:, 1].max() == pytest.approx(ends[:, 1].max(), abs=0.5)


def test_rank_chart_sorts_and_counts_used_entries() -> None:
    chart = codebook_rank_chart(np.array([0, 3, 10, 0]))
    assert list(chart.series[0].y) == [10, 3]
    texts = texts_of(chart)
    assert "entries: 2 of 4 used in 13 codes" in texts
    assert "occurrences (log)" in texts


def test_charts_side_by_side_are_one_png(tmp_path: Path) -> None:
    from PIL import Image

    charts = [loss_chart(), loss_chart(levels={"a": 1.0}), loss_chart()]
    sizes = []
    for columns in (None, 2):
        path = save_line_charts(charts, tmp_path / f"{columns}.png", columns=columns)
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert sizes[0][0] > sizes[1][0]
    assert sizes[0][1] < sizes[1][1]
    again = save_line_charts(charts, tmp_path / "again.png")
    assert again.read_bytes() == (tmp_path / "None.png").read_bytes()
    with pytest.raises(ValueError, match="at least one chart"):
        save_line_charts([], tmp_path / "none.png")


def test_the_module_loads_without_matplotlib() -> None:
    code = "import sys, eval.reporting.report; sys.exit('matplotlib' in sys.modules)"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
