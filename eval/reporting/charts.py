"""Charts of scored folders: quality by bit rate, clip by clip, speaker similarity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.files import read_json
from eval.scoring.same_items import require_same_content, require_same_weights, values_by_name
from eval.scoring.summary import item_values, read_summary

from .line_chart import LineChart, Series

Value = tuple[float, float | None, float | None]
MOST_CHARTS = 8
# Shown in the table; as charts they would repeat others.
_NOT_DRAWN = ("lag_over_2ms",)


def _is_drawn(name: str, figure: dict[str, Any]) -> bool:
    """True if a figure has a better direction and is not shown by another chart already."""
    directed = figure["higher_is_better"] is not None
    return directed and not name.endswith("_raw") and name not in _NOT_DRAWN


def _is_of_recordings(metric_id: str) -> bool:
    """True if a metric scores the recordings alone, which is independent of the codec."""
    return metric_id.split(".")[0].endswith("_original")


@dataclass(frozen=True)
class RatedSystem:
    """A codec with its bit rate and its figures.

    Attributes:
        name: As shown; see `family`.
        bitrate: Bit/s; None for a system without a code (the original, a filter).
        values: (mean, low, high) by figure; the ends None without an interval.
        is_ours: Whether it is drawn first, by itself, with its name.
    """

    name: str
    bitrate: float | None
    values: Mapping[str, Value]
    is_ours: bool = False

    @property
    def family(self) -> str:
        """Systems that a line joins: "codec2" of "codec2_1200", by a last part with a digit."""
        head, _, tail = self.name.rpartition("_")
        return head if head and any(c.isdigit() for c in tail) and not self.is_ours else self.name


def read_ladder(path: Path) -> list[RatedSystem]:
    """Read systems from a JSON file.

    Args:
        path: A list of {"name", "bitrate", "values": {figure: [mean, low, high]}, "is_ours"}, or an
            anchors.json of recipes.comparisons.anchors.

    Raises:
        ValueError: No such file, or another form.
    """
    if not path.is_file():
        raise ValueError(f"expected a JSON file of systems with bit rates, got {path}")
    data = read_json(path)
    if isinstance(data, dict) and isinstance(data.get("systems"), dict):
        return [_from_anchors(name, row) for name, row in data["systems"].items()]
    if not isinstance(data, list):
        raise ValueError(f"{path}: expected a list of systems, got {type(data).__name__}")
    try:
        return [
            RatedSystem(
                row["name"],
                row["bitrate"],
                {name: (v[0], v[1], v[2]) for name, v in row["values"].items()},
                bool(row.get("is_ours")),
            )
            for row in data
        ]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path}: expected name, bitrate and values (mean, low, high) of each system: {error!r}"
        ) from error


def _from_anchors(name: str, row: dict[str, Any]) -> RatedSystem:
    """Convert a row of anchors.json."""
    figures = []
    for key, figure in row["figures"].items():
        metric_id, _, figure_name = key.rpartition("/")
        figures.append((metric_id, figure_name, figure))
    return RatedSystem(name, row["measured_bitrate"], _values(figures), bool(row.get("is_ours")))


def _values(figures: Iterable[tuple[str, str, dict[str, Any]]]) -> dict[str, Value]:
    """Values with intervals by name of the figure, from (metric id, name, figure) each."""
    # Several metrics may give a figure of one name; the first counts.
    values: dict[str, Value] = {}
    for metric_id, name, figure in figures:
        if figure["value"] is not None and not _is_of_recordings(metric_id):
            low, high = figure["ci95"] or (None, None)
            values.setdefault(name, (figure["value"], low, high))
    return values


def summary_system(name: str, summary: dict[str, Any], bitrate: float | None) -> RatedSystem:
    """Convert a scored folder's summary to our system of a chart."""
    figures = [
        (metric_id, figure_name, figure)
        for metric_id, metric in summary["metrics"].items()
        for figure_name, figure in metric["figures"].items()
    ]
    return RatedSystem(name, bitrate, _values(figures), is_ours=True)


def rate_chart(systems: Sequence[RatedSystem], figure: str, *, unit: str = "") -> LineChart:
    """Chart a figure by bit rate on a log axis, families joined; systems without one as levels."""
    # Figures with the unit "%" are stored as fractions.
    scale = 100.0 if unit == "%" else 1.0
    having = [s for s in systems if figure in s.values]
    groups: dict[str, list[RatedSystem]] = {}
    for system in sorted(having, key=lambda s: (not s.is_ours, s.bitrate or 0.0)):
        if system.bitrate:
            groups.setdefault(system.family, []).append(system)
    # Families in the order of their lowest rate, ours first; points that are NaN are not drawn.
    nan = float("nan")
    series = [
        Series(
            family,
            [system.bitrate or nan for system in group],
            [scale * system.values[figure][0] for system in group],
            "both",
            [s.name.removeprefix(family).strip("_") or s.name for s in group],
            [nan if (low := s.values[figure][1]) is None else scale * low for s in group],
            [nan if (high := s.values[figure][2]) is None else scale * high for s in group],
        )
        for family, group in groups.items()
    ]
    levels = {s.name: scale * s.values[figure][0] for s in having if not s.bitrate}
    return LineChart(
        f"{figure} by bit rate",
        "bit/s",
        f"{figure}, {unit}" if unit else figure,
        series,
        levels,
        x_scale="log",
        y_scale="linear",
        show_last=False,
        note="Dashed: not coded. Bars: 95 % interval.",
    )


def rate_charts(systems: Sequence[RatedSystem], summary: dict[str, Any]) -> list[LineChart]:
    """Chart each figure with a better direction that other systems with a bit rate have, too."""
    charts = []
    for metric_id, metric in summary["metrics"].items():
        if _is_of_recordings(metric_id):
            continue
        for name, figure in metric["figures"].items():
            others = [s for s in systems if name in s.values and not s.is_ours and s.bitrate]
            if others and _is_drawn(name, figure):
                charts.append(rate_chart(systems, name, unit=figure["unit"]))
    return charts[:MOST_CHARTS]


def clip_charts(ours: Path, theirs: Path, *, names: tuple[str, str] = ("", "")) -> list[LineChart]:
    """Chart each clip's value against that of a baseline, a chart a figure.

    Args:
        ours: Scored folder, on the y axis.
        theirs: Scored folder of the baseline, on the x axis.
        names: Of both; "" for that of the folder.

    Raises:
        ValueError: A folder that is not scored, no metric in both, other recordings under the same
            ids, or other weights behind a metric.
    """
    summaries = [read_summary(folder) for folder in (ours, theirs)]
    labels = [
        name or folder.resolve().name for name, folder in zip(names, (ours, theirs), strict=True)
    ]
    both = [name for name in summaries[0]["metrics"] if name in summaries[1]["metrics"]]
    if not both:
        raise ValueError(f"expected metrics in both {ours} and {theirs}, got none")
    require_same_content(ours, theirs)
    both = [name for name in both if not _is_of_recordings(name)]
    require_same_weights(summaries, both)
    charts = []
    for metric_id in both:
        rows = [values_by_name(folder, metric_id) for folder in (ours, theirs)]
        for figure, head in summaries[0]["metrics"][metric_id]["figures"].items():
            if not _is_drawn(figure, head):
                continue
            pairs = [(rows[1].get(n, {}).get(figure), rows[0][n].get(figure)) for n in rows[0]]
            points = [(a, b) for a, b in pairs if a is not None and b is not None]
            if len(points) > 1:
                charts.append(_scatter(figure, points, labels, head))
    return charts[:MOST_CHARTS]


def _scatter(
    figure: str, points: list[tuple[float, float]], labels: list[str], head: dict[str, Any]
) -> LineChart:
    """Chart clips by both values, with the line on which both are the same."""
    scale = 100.0 if head["unit"] == "%" else 1.0
    # A win is a larger value, or a smaller one where lower is better.
    sign = 1 if head["higher_is_better"] else -1
    wins = sum(sign * (mine - other) > 0 for other, mine in points)
    losses = sum(sign * (mine - other) < 0 for other, mine in points)
    better = "above" if head["higher_is_better"] else "below"
    unit = f", {head['unit']}" if head["unit"] else ""
    x, y = ([scale * point[side] for point in points] for side in (0, 1))
    return LineChart(
        f"{figure}, clip by clip",
        f"{labels[1]}{unit}",
        f"{labels[0]}{unit}",
        [Series(f"{len(points)} clips", x, y, "points")],
        diagonal=True,
        x_scale="linear",
        y_scale="linear",
        show_last=False,
        note=f"{labels[0]} is better {better} the line: {wins} clips, worse: {losses}.",
    )


def similarity_charts(folder: Path, summary: dict[str, Any]) -> list[LineChart]:
    """Chart the speaker similarity of each clip, sorted, with its floor and its ceiling."""
    charts = []
    for metric_id, metric in summary["metrics"].items():
        band = metric.get("corpus") or {}
        if "same_speaker" not in band:
            continue
        # The similarity itself is the first figure of such a metric.
        name = next(iter(metric["figures"]))
        rows = item_values(folder, metric_id)
        values = sorted(v for row in rows.values() if (v := row.get(name)) is not None)
        bands = {
            label: (band[key]["p5"], band[key]["p95"])
            for label, key in (("same speaker", "same_speaker"), ("strangers", "different_speaker"))
            if band[key]["pairs"]
        }
        note = (
            "Shaded: 5th to 95th percentile of pairs of recordings in this set."
            if bands
            else "No band: the recordings name no speakers of whom there are two."
        )
        if values:
            points = Series(f"{len(values)} clips", range(1, len(values) + 1), values, "points")
            charts.append(
                LineChart(
                    f"{name} beside its floor and ceiling",
                    "clip, sorted",
                    "cosine",
                    [points],
                    bands=bands,
                    y_scale="linear",
                    show_last=False,
                    note=note,
                )
            )
    return charts
