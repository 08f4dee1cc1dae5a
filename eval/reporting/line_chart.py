"""Line charts as inline SVG: no script, no outside file, colours from the page's style sheet."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Literal

import numpy as np

Scale = Literal["auto", "linear", "log"]
Style = Literal["line", "points", "both"]
WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 8, 40
NUM_COLORS = 6
MAX_POINTS = 400
# Above this ratio of the largest to the least value a linear axis hides the small ones.
LOG_RATIO = 20.0


@dataclass(frozen=True, eq=False)
class Series:
    """One line of a chart.

    Args:
        name: Shown in the legend.
        x: (N,) positions.
        y: (N,) values; points that are not finite break nothing, they are left out and counted.
        style: A line, a dot for each point (none is thinned out), or both.
        labels: Short texts beside the dots, "" for none; () where there are none at all.
        low: (N,) lower ends of intervals, drawn through the dots; () without them.
        high: (N,) upper ends.
    """

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    style: Style = "line"
    labels: Sequence[str] = ()
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Checks that every value has its position."""
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


@dataclass(frozen=True)
class Curve:
    """A chart.

    Args:
        title: Heading.
        x_label: Name and unit of the positions.
        y_label: Name and unit of the values.
        series: Lines; a chart whose series hold no point is left out of a report.
        levels: Named horizontal lines, such as {"unigram entropy": 7.1}.
        bands: Named ranges (low, high) of values, shaded from side to side.
        diagonal: Draws the line on which both axes agree, and gives both axes the same range.
        x_scale: "auto" takes a log axis where positive values span a factor above 20.
        y_scale: Likewise.
        note: A sentence below.
        show_last: Whether the legend gives the last value of each line.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    levels: dict[str, float] = field(default_factory=dict)
    bands: dict[str, tuple[float, float]] = field(default_factory=dict)
    diagonal: bool = False
    x_scale: Scale = "linear"
    y_scale: Scale = "auto"
    note: str = ""
    show_last: bool = True


@dataclass(frozen=True)
class _Axis:
    """Maps values to pixels, from `start` at `low` to `end` at `high`."""

    low: float
    high: float
    log: bool
    start: float
    end: float

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values within the axis, four to eight of them as a rule."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            wide = math.log10(self.high / self.low) > 3
            steps = (1,) if wide else (1, 2, 5)
            marks = [step * 10.0**decade for decade in decades for step in steps]
        else:
            step = _round_step((self.high - self.low) / 5)
            first = math.ceil(self.low / step - 1e-9)
            marks = [
                index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)
            ]
        slack = (self.high - self.low) * 1e-9
        return [mark for mark in marks if self.low - slack <= mark <= self.high + slack]


def _round_step(rough: float) -> float:
    """Least of 1, 2, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= rough * (1 - 1e-9))


def _axis(values: np.ndarray, scale: Scale, start: float, end: float) -> _Axis:
    """Axis that holds all values with a little room."""
    low, high = float(values.min()), float(values.max())
    log = low > 0 and (scale == "log" or (scale == "auto" and high / low > LOG_RATIO))
    if log:
        room = 1.0 if high > low else 2.0
        return _Axis(low / room, high * room, True, start, end)
    room = (high - low) * 0.03 or abs(high) * 0.1 or 1.0
    # An axis of counts or of losses near zero starts at zero rather than just beside it.
    floor = 0.0 if 0 <= low < 0.25 * (high - low) else low - room
    return _Axis(floor, high + room, False, start, end)


def thinned(x: np.ndarray, y: np.ndarray, limit: int = MAX_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """At most about `limit` points of a line, keeping the least and largest of every stretch."""
    if x.size <= limit:
        return x, y
    keep = {0, x.size - 1}
    for part in np.array_split(np.arange(x.size), limit // 2):
        keep.update((int(part[np.argmin(y[part])]), int(part[np.argmax(y[part])])))
    order = sorted(keep)
    return x[order], y[order]


def number_text(value: float, *, unit: str = "", digits: int | None = None) -> str:
    """A number as people read it: three or four digits that matter; "%" shows a fraction."""
    if unit == "%":
        return f"{100.0 * value:.{1 if digits is None else digits}f} %"
    if digits is None:
        size = abs(value)
        if value == int(value) and size < 1e6:
            digits = 0
        else:
            digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    text = f"{value:,.{digits}f}" if abs(value) < 1e9 else f"{value:.3g}"
    return f"{text.replace(',', ' ')} {unit}".rstrip()


def _tick_text(value: float) -> str:
    """Short label of an axis tick."""
    if value != 0 and abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.6g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.0e}"


_Line = tuple[Series, np.ndarray, np.ndarray]


def curve_svg(curve: Curve) -> str:
    """The chart as an SVG element with its legend after it; "" when no point can be drawn."""
    lines, left_out = _drawable(curve.series)
    if not lines:
        return ""
    levels = {name: value for name, value in curve.levels.items() if math.isfinite(value)}
    x_axis, y_axis = _axes(curve, lines, levels)
    parts = [_bands(curve, y_axis, len(lines) + len(levels)), _grid(x_axis, y_axis)]
    if curve.diagonal:
        parts.append(_diagonal(x_axis, y_axis))
    for index, (series, x, y) in enumerate(lines):
        parts.append(_drawn(series, x, y, x_axis, y_axis, index % NUM_COLORS))
    parts.append(_point_labels(lines, x_axis, y_axis))
    for index, value in enumerate(levels.values(), start=len(lines)):
        at = f"{y_axis(value):.1f}"
        span = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"'
        parts.append(f'<line class="level c{index % NUM_COLORS}" {span}/>')
    parts.append(_labels(curve, x_axis, y_axis))
    svg = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(curve.title)}">'
        f"{''.join(parts)}</svg>"
    )
    return svg + _legend(curve, lines, levels, left_out)


def _axes(curve: Curve, lines: Sequence[_Line], levels: dict[str, float]) -> tuple[_Axis, _Axis]:
    """Both axes, wide enough for lines, intervals, levels and bands."""
    all_x = np.concatenate([x for _, x, _ in lines])
    ends = [*levels.values(), *(end for band in curve.bands.values() for end in band)]
    for series, _, _ in lines:
        ends += [end for end in (*series.low, *series.high) if math.isfinite(end)]
    all_y = np.concatenate([y for _, _, y in lines] + [np.array(ends, dtype=np.float64)])
    if curve.diagonal:
        all_x = all_y = np.concatenate((all_x, all_y))
    x_axis = _axis(all_x, curve.x_scale, LEFT, WIDTH - RIGHT)
    if x_axis.log and any(series.style != "line" for series, _, _ in lines):
        # Dots on the edge of a chart are cut in half, and their texts fall off it.
        room = (x_axis.high / x_axis.low) ** 0.07
        x_axis = replace(x_axis, low=x_axis.low / room, high=x_axis.high * room)
    return x_axis, _axis(all_y, curve.y_scale, HEIGHT - BOTTOM, TOP)


def _drawable(series: Sequence[Series]) -> tuple[list[_Line], int]:
    """Lines that hold a finite point, thinned, and how many points are not finite."""
    lines: list[_Line] = []
    left_out = 0
    for one in series:
        x, y = (np.asarray(data, dtype=np.float64) for data in (one.x, one.y))
        good = np.isfinite(x) & np.isfinite(y)
        left_out += int((~good).sum())
        if not good.any():
            continue
        kept = {
            name: [given for given, keep in zip(getattr(one, name), good, strict=False) if keep]
            for name in ("labels", "low", "high")
        }
        same = replace(one, x=x[good], y=y[good], **kept)
        drawn_x, drawn_y = x[good], y[good]
        if one.style == "line":
            drawn_x, drawn_y = thinned(drawn_x, drawn_y)
        lines.append((same, drawn_x, drawn_y))
    return lines, left_out


def _drawn(
    series: Series, x: np.ndarray, y: np.ndarray, x_axis: _Axis, y_axis: _Axis, color: int
) -> str:
    """A line through points (N,), dots on them, or both; a dot where there is but one."""
    places = [(x_axis(a), y_axis(b)) for a, b in zip(x, y, strict=True)]
    parts = []
    if series.style != "points" and x.size > 1:
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline class="line c{color}" points="{points}"/>')
    for (a, _), low, high in zip(places, series.low, series.high, strict=False):
        if math.isfinite(low) and math.isfinite(high):
            ends = f'y1="{y_axis(low):.1f}" y2="{y_axis(high):.1f}"'
            parts.append(f'<line class="whisker c{color}" x1="{a:.1f}" x2="{a:.1f}" {ends}/>')
    if series.style != "line" or x.size == 1:
        parts += [
            f'<circle class="dot c{color}" cx="{a:.1f}" cy="{b:.1f}" r="3"/>' for a, b in places
        ]
    return "".join(parts)


def _point_labels(lines: Sequence[_Line], x_axis: _Axis, y_axis: _Axis) -> str:
    """Texts beside dots, each moved to the first place that covers no other text and no dot."""
    dots = [(x_axis(a), y_axis(b)) for _, x, y in lines for a, b in zip(x, y, strict=True)]
    texts = [label for series, x, _ in lines for label in (series.labels or [""] * x.size)]
    if not any(texts):
        return ""
    taken = [(a - 4, b - 4, a + 4, b + 4) for a, b in dots]
    parts = []
    for (a, b), text in zip(dots, texts, strict=True):
        if not text:
            continue
        width, height = 6.3 * len(text), 11.0
        offsets = [(6, 4), (-6 - width, 4), (-width / 2, -7), (-width / 2, 16), (5, -5), (5, 14)]
        spots = [(a + dx, b + dy) for dx, dy in offsets]
        boxes = [(x, y - height + 2, x + width, y + 2) for x, y in spots]
        free = [
            (spot, box)
            for spot, box in zip(spots, boxes, strict=True)
            if box[0] >= LEFT
            and box[2] <= WIDTH
            and box[1] >= 0
            and not any(_overlap(box, t) for t in taken)
        ]
        (x, y), box = free[0] if free else (spots[0], boxes[0])
        taken.append(box)
        parts.append(f'<text class="tag" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>')
    return "".join(parts)


_Box = tuple[float, float, float, float]


def _overlap(one: _Box, two: _Box) -> bool:
    """Whether two boxes (left, top, right, bottom) share a point."""
    return one[0] < two[2] and two[0] < one[2] and one[1] < two[3] and two[1] < one[3]


def _bands(curve: Curve, y_axis: _Axis, first: int) -> str:
    """Shaded ranges of values."""
    parts = []
    for index, (low, high) in enumerate(curve.bands.values(), start=first):
        top, bottom = sorted((y_axis(low), y_axis(high)))
        box = f'x="{LEFT}" width="{WIDTH - RIGHT - LEFT}" y="{top:.1f}" height="{bottom - top:.1f}"'
        parts.append(f'<rect class="band c{index % NUM_COLORS}" {box}/>')
    return "".join(parts)


def _diagonal(x_axis: _Axis, y_axis: _Axis) -> str:
    """The line on which both axes agree."""
    low, high = x_axis.low, x_axis.high
    ends = f'x1="{x_axis(low):.1f}" y1="{y_axis(low):.1f}" x2="{x_axis(high):.1f}"'
    return f'<line class="diagonal" {ends} y2="{y_axis(high):.1f}"/>'


def _grid(x_axis: _Axis, y_axis: _Axis) -> str:
    """Grid lines with their numbers."""
    bottom = HEIGHT - BOTTOM
    parts = []
    for value in x_axis.ticks():
        at = f"{x_axis(value):.1f}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{at}" y="{bottom + 15}" class="mid">{_tick_text(value)}</text>')
    for value in y_axis.ticks():
        at = y_axis(value)
        span = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"'
        parts.append(f'<line class="grid" {span}/>')
        label = f'x="{LEFT - 5}" y="{at + 4:.1f}" class="end"'
        parts.append(f"<text {label}>{_tick_text(value)}</text>")
    return "".join(parts)


def _labels(curve: Curve, x_axis: _Axis, y_axis: _Axis) -> str:
    """Names of the axes; a log axis says so."""
    x_name = escape(curve.x_label + (" (log)" if x_axis.log else ""))
    y_name = escape(curve.y_label + (" (log)" if y_axis.log else ""))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return (
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" class="mid name">{x_name}</text>'
        f'<text transform="translate(13 {middle}) rotate(-90)" class="mid name">{y_name}</text>'
    )


def _legend(curve: Curve, lines: Sequence[_Line], levels: dict[str, float], left_out: int) -> str:
    """What each line is, with its last value, and how many points could not be drawn."""
    texts = [
        f"{series.name}: {number_text(float(y[-1]))}" if curve.show_last else series.name
        for series, _, y in lines
    ]
    keys = [("key", text) for text in texts]
    keys += [("key dashed", f"{name}: {number_text(value)}") for name, value in levels.items()]
    keys += [
        ("key area", f"{name}: {number_text(low)} to {number_text(high)}")
        for name, (low, high) in curve.bands.items()
    ]
    entries = [
        f'<span class="{kind} c{index % NUM_COLORS}">{escape(text)}</span>'
        for index, (kind, text) in enumerate(keys)
    ]
    if left_out:
        entries.append(f'<span class="bad">{left_out} points that are not finite left out</span>')
    return f'<p class="legend">{"".join(entries)}</p>'


def codebook_rank_curve(
    counts: np.ndarray | dict[str, np.ndarray], title: str = "Codebook use by rank"
) -> Curve:
    """Chart of how often each entry occurs, the most frequent first, on log axes.

    Args:
        counts: Occurrences (codebook_size,), or several of them by name.
        title: Heading.
    """
    named = counts if isinstance(counts, dict) else {"entries": counts}
    series = []
    for name, values in named.items():
        order = np.sort(np.asarray(values, dtype=np.float64))[::-1]
        seen = order[order > 0]
        label = f"{name}: {seen.size} of {order.size} used in {order.sum():.0f} codes"
        series.append(Series(label, np.arange(1, seen.size + 1), seen))
    return Curve(
        title, "rank", "occurrences", series, x_scale="log", y_scale="log", show_last=False
    )
