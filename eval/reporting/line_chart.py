"""Line charts by matplotlib: inline SVG in the colours of the page, and PNG files."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eval.scoring.summary import number_text

from .dot_labels import label_dots
from .media import save_png

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

Scale = Literal["auto", "linear", "log"]
Style = Literal["line", "points", "both", "dashed"]
# In units of the SVG, 1/72 inch; without the legend.
WIDTH, HEIGHT, LEGEND_LINE = 400.0, 250.0, 15.0
# On a white page. An SVG takes --c0 to --c7 of the page instead, and its `currentColor` for INK.
COLORS = (
    *("#2563c9", "#c4510b", "#15803d", "#8b3fc2"),
    *("#b8860b", "#0e7c86", "#be185d", "#4b5563"),
)
INK = "#616771"
# Above this ratio of the largest to the least value a linear axis hides the small ones.
LOG_RATIO = 20.0
_STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys([f"axes.spines.{side}" for side in ("left", "right", "top", "bottom")], False),
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "lines.markersize": 5.0,
    "font.size": 10.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "svg.fonttype": "none",  # texts stay texts
    "path.simplify_threshold": 0.5,  # pixels, too few to be seen
}


@dataclass(frozen=True, eq=False)
class Series:
    """One line of a chart."""

    name: str  # shown in the legend; "" keeps it out
    x: Sequence[float] | np.ndarray  # (N,) positions
    # (N,) values; points that are not finite are left out and counted.
    y: Sequence[float] | np.ndarray
    style: Style = "line"  # a line, a dot for each point, both, or a thin dashed line
    # Short texts beside the dots, "" for none; () where there are none at all.
    labels: Sequence[str] | np.ndarray = ()
    # (N,) lower ends of intervals, drawn through the dots; () without them.
    low: Sequence[float] | np.ndarray = ()
    high: Sequence[float] | np.ndarray = ()  # (N,) upper ends
    color: int | None = None  # index of the colour; None for the next one

    def __post_init__(self) -> None:
        """Check that every value has its position."""
        if np.ndim(self.x) != 1 or np.shape(self.x) != np.shape(self.y):
            raise ValueError(
                f"series {self.name!r}: expected x and y (N,), got {np.shape(self.x)} and "
                f"{np.shape(self.y)}"
            )
        for what, given in (("labels", self.labels), ("low", self.low), ("high", self.high)):
            if len(given) not in (0, len(self.x)):
                raise ValueError(
                    f"series {self.name!r}: expected {len(self.x)} {what}, got {len(given)}"
                )

    def finite(self) -> Series:
        """Select the points that can be drawn, all fields as arrays; ends default to NaN."""
        x, y = np.asarray(self.x, dtype=np.float64), np.asarray(self.y, dtype=np.float64)
        good = np.isfinite(x) & np.isfinite(y)
        no_ends = np.full(x.size, np.nan)
        low, high = (
            np.asarray(ends if len(ends) else no_ends, dtype=np.float64)[good]
            for ends in (self.low, self.high)
        )
        labels = np.array(self.labels if len(self.labels) else [""] * x.size)[good]
        return replace(self, x=x[good], y=y[good], low=low, high=high, labels=labels)


@dataclass(frozen=True)
class LineChart:
    """A chart of lines and dots."""

    title: str
    x_label: str  # name and unit of the positions
    y_label: str  # name and unit of the values
    series: Sequence[Series]  # lines; a chart whose series hold no point is left out of a report
    # Named horizontal lines, such as {"unigram entropy": 7.1}.
    levels: dict[str, float] = field(default_factory=dict)
    # Named ranges (low, high) of values, shaded from side to side.
    bands: dict[str, tuple[float, float]] = field(default_factory=dict)
    # Whether to draw the line on which both axes agree, over axes of the same range.
    diagonal: bool = False
    # "auto" takes a log axis where positive values span a factor above 20.
    x_scale: Scale = "linear"
    y_scale: Scale = "auto"
    note: str = ""  # a sentence below
    show_last: bool = True  # whether the legend gives the last value of each line


def line_chart(chart: LineChart) -> str:
    """Draw a chart with its legend as an SVG element; "" when no point can be drawn.

    The background is transparent, texts and grid have the `currentColor` of the page, and lines its
    colours --c0 to --c7 where it defines them. The same chart gives the same text.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if not any(len(series.finite().x) for series in chart.series):
        return ""
    # The salt makes the ids of markers those of this chart.
    with rc_context({**_STYLE, "svg.hashsalt": chart.title}):
        size = (WIDTH / 72, (HEIGHT + _legend_height(chart)) / 72)
        figure = Figure(figsize=size, dpi=72, layout="constrained")
        _draw(figure, chart)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inlined(buffer.getvalue(), chart.title)


def save_line_charts(
    charts: Sequence[LineChart], path: Path, *, columns: int | None = None
) -> Path:
    """Draw charts as one PNG, `columns` of them in a row or all, and return its path.

    Raises:
        ValueError: No chart.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if not charts:
        raise ValueError("expected at least one chart to draw, got none")
    columns = min(columns or len(charts), len(charts))
    rows = math.ceil(len(charts) / columns)
    with rc_context(_STYLE):
        height = rows * (HEIGHT + 20 + max(map(_legend_height, charts)))
        figure = Figure(figsize=(columns * WIDTH / 72, height / 72), layout="constrained")
        panels = figure.subfigures(rows, columns, squeeze=False).flat
        for panel, chart in zip(panels, charts, strict=False):
            panel.suptitle(chart.title, fontsize=10, fontweight="bold")
            _draw(panel, chart)
        return save_png(figure, path)


def codebook_rank_chart(counts: np.ndarray | dict[str, np.ndarray]) -> LineChart:
    """Chart occurrences (codebook_size,), or several by name, the most frequent entry first."""
    named = counts if isinstance(counts, dict) else {"entries": counts}
    series = []
    for name, values in named.items():
        order = np.sort(np.asarray(values, dtype=np.float64))[::-1]
        seen = order[order > 0]  # 0 is not on a log axis
        label = f"{name}: {seen.size} of {order.size} used in {order.sum():.0f} codes"
        series.append(Series(label, np.arange(1, seen.size + 1), seen))
    return LineChart(
        "Codebook use by rank",
        "rank",
        "occurrences",
        series,
        x_scale="log",
        y_scale="log",
        show_last=False,
    )


def _legend_height(chart: LineChart) -> float:
    """Height of the legend, an entry a line."""
    named = sum(bool(series.name) for series in chart.series)
    return LEGEND_LINE * (named + len(chart.levels) + len(chart.bands))


def _draw(figure: Figure | SubFigure, chart: LineChart) -> None:
    """Draw a chart with its legend below into an empty figure."""
    axes = figure.subplots()
    colors = itertools.cycle(COLORS)
    drawn = [series for given in chart.series if len((series := given.finite()).x)]
    for series in drawn:
        following = next(colors)
        color = following if series.color is None else COLORS[series.color % len(COLORS)]
        _draw_series(axes, series, color, show_last=chart.show_last)
    for name, level in chart.levels.items():
        if math.isfinite(level):
            label = f"{name}: {number_text(level)}"
            axes.axhline(level, color=next(colors), ls="--", lw=1.3, label=label)
    for name, (low, high) in chart.bands.items():
        label = f"{name}: {number_text(low)} to {number_text(high)}"
        axes.axhspan(low, high, color=next(colors), alpha=0.2, lw=0, label=label)
    left_out = sum(len(series.x) - len(series.finite().x) for series in chart.series)
    if left_out:
        axes.plot([], [], " ", label=f"{left_out} points that are not finite left out")
    _set_axes(axes, chart)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower left")
    points = [dot for line in drawn for dot in zip(line.x, line.y, line.labels, strict=True)]
    label_dots(axes, points)
    # Nothing reaches beyond the frame, and clip paths would be links within the page.
    for artist in axes.findobj():
        artist.set_clip_on(False)


def _draw_series(axes: Axes, series: Series, color: str, *, show_last: bool) -> None:
    """Draw a line, dots, or both, with their intervals; a dot for a single point."""
    has_dots = series.style in ("points", "both") or len(series.x) == 1
    label = f"{series.name}: {number_text(float(series.y[-1]))}" if show_last else series.name
    axes.plot(
        series.x,
        series.y,
        color=color,
        marker="o" if has_dots else "",
        linestyle={"points": "", "dashed": "--"}.get(series.style, "-"),
        linewidth=1.0 if series.style == "dashed" else 1.8,
        # Matplotlib leaves a label with an underscore out of the legend.
        label=label if series.name else "_",
    )
    known = np.isfinite(series.low) & np.isfinite(series.high)
    if known.any():
        x, low, high = (np.asarray(each)[known] for each in (series.x, series.low, series.high))
        axes.vlines(x, low, high, color=color, linewidth=1.2, alpha=0.55)


def _set_axes(axes: Axes, chart: LineChart) -> None:
    """Choose scale, limits and ticks of both axes, and name them, a log axis as such."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    box = axes.dataLim
    spans = [(box.x0, box.x1), (box.y0, box.y1)]
    if chart.diagonal:
        spans = [(min(box.x0, box.y0), max(box.x1, box.y1))] * 2
        axes.plot(*spans, ":", color=INK, linewidth=1.0)
    scales, names = (chart.x_scale, chart.y_scale), (chart.x_label, chart.y_label)
    for side, (low, high), scale, name in zip("xy", spans, scales, names, strict=True):
        axis = axes.xaxis if side == "x" else axes.yaxis
        is_log = low > 0 and (scale == "log" or (scale == "auto" and high / low > LOG_RATIO))
        if is_log:
            room = (high / low) ** 0.05 if high > low else 2.0
            axes.set(**{f"{side}scale": "log", f"{side}lim": (low / room, high * room)})
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low <= 1e3 else (1,)))
            axis.set_minor_locator(NullLocator())
        else:
            room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
            # An axis of counts or of losses near zero starts at zero rather than just beside it.
            start = 0.0 if 0 <= low < 0.25 * (high - low) else low - room
            axes.set(**{f"{side}lim": (start, high + room)})
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(FuncFormatter(_tick_text))
        axis.set_label_text(f"{name} (log)" if is_log else name)


def _tick_text(value: float, position: int | None = None) -> str:
    """Format the number of an axis tick: 20k, 3M."""
    if value != 0 and abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.6g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.0e}"


def _inlined(svg: str, title: str) -> str:
    """Turn a file of matplotlib's into an element with the colours and the font of the page."""
    head, _, body = svg[svg.index("<svg") :].partition(">")
    box = re.findall(r'viewBox="[^"]*"', head)[0]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r">\s+<", "><", body).replace("<defs></defs>", "").replace("xlink:href", "href")
    # Only ids that are linked to are kept, so that several charts of a page do not share one.
    linked = set(re.findall(r'href="#([^"]+)"', body))
    body = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in linked else "", body)
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", body)
    # A hundredth of a point is enough for a path, and half the length of the text.
    body = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), body)
    body = body.replace(INK, "currentColor")
    for number, color in enumerate(COLORS):
        body = body.replace(color, f"var(--c{number}, {color})")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{escape(title)}" '
        f'stroke-linejoin="round">{body.strip()}'
    )
