"""Charts of scored folders: quality against bit rate, clips against a baseline, voices kept."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.scoring.summary import item_rows, read_summary

from .line_chart import Curve, Series

Value = tuple[float, float | None, float | None]
MOST_CHARTS = 8
# Shown in the table; as charts they would repeat others.
_NOT_DRAWN = ("lag_over_2ms",)


def _is_drawn(name: str, figure: dict[str, Any]) -> bool:
    """Whether a figure has a better direction and is none that a chart beside it shows, too."""
    directed = figure["higher_is_better"] is not None
    return directed and not name.endswith("_raw") and name not in _NOT_DRAWN


def _is_of_recordings(metric_id: str) -> bool:
    """Whether a metric hears the recordings: a figure of its own that says nothing of a coder."""
    return metric_id.split(".")[0].endswith("_original")


@dataclass(frozen=True)
class RatedSystem:
    """A coder with its rate and its figures.

    Args:
        name: As shown; what comes before the last "_" is its family, joined by a line.
        bitrate: bit/s; None where there is no coded form (the original, a filter).
        values: (mean, low, high) by figure; the ends None without an interval.
        is_ours: Drawn first, by itself, with its name.
    """

    name: str
    bitrate: float | None
    values: Mapping[str, Value]
    is_ours: bool = False

    @property
    def family(self) -> str:
        """Name without the last part, where that holds a digit: "codec2" of "codec2_1200"."""
        head, _, tail = self.name.rpartition("_")
        return head if head and any(c.isdigit() for c in tail) and not self.is_ours else self.name


def read_ladder(path: Path) -> list[RatedSystem]:
    """Systems of a JSON file.

    It holds a list of {"name", "bitrate", "values": {figure: [mean, low, high]}, "is_ours"}, or
    what the recipe `anchors` writes.

    Raises:
        ValueError: No such file, or another form.
    """
    if not path.is_file():
        raise ValueError(f"expected a JSON file of systems with bit rates, got {path}")
    data = json.loads(path.read_text(encoding="utf-8"))
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
    """A row of anchors.json; figures go by their own name, a WER of the recordings is left out."""
    values: dict[str, Value] = {}
    for key, figure in row["figures"].items():
        family, _, figure_name = key.rpartition("/")
        if figure["value"] is not None and not _is_of_recordings(family):
            values.setdefault(figure_name, _value(figure))
    rate = row["measured_bitrate"] if row["measured_bitrate"] is not None else None
    return RatedSystem(name, rate, values, bool(row.get("is_ours")))


def _value(figure: dict[str, Any]) -> Value:
    """Mean of a summary's figure with the ends of its interval."""
    low, high = figure["ci95"] or (None, None)
    return figure["value"], low, high


def summary_system(
    name: str, summary: dict[str, Any], bitrate: float | None, *, is_ours: bool = True
) -> RatedSystem:
    """A scored folder's summary as a point of the chart."""
    values: dict[str, Value] = {}
    for metric_id, metric in summary["metrics"].items():
        for figure_name, figure in metric["figures"].items():
            if figure["value"] is not None and not _is_of_recordings(metric_id):
                values.setdefault(figure_name, _value(figure))
    return RatedSystem(name, bitrate, values, is_ours)


def rate_chart(systems: Sequence[RatedSystem], figure: str, *, unit: str = "") -> Curve:
    """Quality against bit rate on a log axis, families joined; without a rate: a level."""
    scale = 100.0 if unit == "%" else 1.0
    having = [s for s in systems if figure in s.values]
    groups: dict[str, list[RatedSystem]] = {}
    for system in sorted(having, key=lambda s: (not s.is_ours, s.bitrate or 0.0)):
        if system.bitrate:
            groups.setdefault(system.family, []).append(system)
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
    return Curve(
        f"{figure} by bit rate",
        "bit/s",
        f"{figure}, {unit}" if unit else figure,
        series,
        levels,
        x_scale="log",
        y_scale="linear",
        show_last=False,
        note="Dashed: no coded form. Bars: 95 % interval.",
    )


def rate_charts(systems: Sequence[RatedSystem], summary: dict[str, Any]) -> list[Curve]:
    """A chart of each figure with a better direction that the classical systems have, too."""
    curves = []
    for metric_id, metric in summary["metrics"].items():
        if _is_of_recordings(metric_id):
            continue
        for name, figure in metric["figures"].items():
            others = [s for s in systems if name in s.values and not s.is_ours and s.bitrate]
            if others and _is_drawn(name, figure):
                curves.append(rate_chart(systems, name, unit=figure["unit"]))
    return curves[:MOST_CHARTS]


def clip_charts(ours: Path, theirs: Path, *, names: tuple[str, str] = ("", "")) -> list[Curve]:
    """A chart a figure: each clip's value against that of a baseline, where both have it.

    Raises:
        ValueError: A folder that is not scored, or no metric in both.
    """
    summaries = [read_summary(folder) for folder in (ours, theirs)]
    labels = [
        name or folder.resolve().name for name, folder in zip(names, (ours, theirs), strict=True)
    ]
    both = [name for name in summaries[0]["metrics"] if name in summaries[1]["metrics"]]
    if not both:
        raise ValueError(f"expected metrics in both {ours} and {theirs}, got none")
    both = [name for name in both if not _is_of_recordings(name)]
    curves = []
    for metric_id in both:
        rows = [_values(folder, metric_id) for folder in (ours, theirs)]
        for figure, head in summaries[0]["metrics"][metric_id]["figures"].items():
            if not _is_drawn(figure, head):
                continue
            pairs = [(rows[1].get(n, {}).get(figure), rows[0][n].get(figure)) for n in rows[0]]
            points = [(a, b) for a, b in pairs if a is not None and b is not None]
            if len(points) > 1:
                curves.append(_scatter(figure, points, labels, head))
    return curves[:MOST_CHARTS]


def _scatter(
    figure: str, points: list[tuple[float, float]], labels: list[str], head: dict[str, Any]
) -> Curve:
    """Clips by both values, with the line on which both are the same."""
    scale = 100.0 if head["unit"] == "%" else 1.0
    sign = 1 if head["higher_is_better"] else -1
    wins = sum(sign * (mine - other) > 0 for other, mine in points)
    losses = sum(sign * (mine - other) < 0 for other, mine in points)
    better = "above" if head["higher_is_better"] else "below"
    unit = f", {head['unit']}" if head["unit"] else ""
    x, y = ([scale * point[side] for point in points] for side in (0, 1))
    return Curve(
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


def similarity_charts(folder: Path, summary: dict[str, Any]) -> list[Curve]:
    """Speaker similarity of each clip, sorted, before its floor and its ceiling."""
    curves = []
    for metric_id, metric in summary["metrics"].items():
        band = metric.get("corpus") or {}
        if "same_speaker" not in band:
            continue
        name = next(iter(metric["figures"]))
        rows = _values(folder, metric_id)
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
            curves.append(
                Curve(
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
    return curves


def _values(folder: Path, metric_id: str) -> dict[str, dict[str, float | None]]:
    """Values by item of the rows that are ok; the last row of an item counts."""
    rows = item_rows(folder, metric_id)
    return {name: row["values"] for name, row in rows.items() if row["status"] == "ok"}
