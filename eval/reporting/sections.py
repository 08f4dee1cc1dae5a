"""Parts of a report made from scored folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from codec.files.json_lines import read_json_lines
from codec.files.names import is_hidden
from eval.protocols import MetricError
from eval.scoring.summary import item_rows, item_values, number_text, read_summary, units_note
from eval.sound import AudioSource, load_sound

from .charts import similarity_charts
from .line_chart import LineChart, Series
from .report import Cell, Clip, Estimate, Failure, Report, Table

WORST_CLIPS = 5
ARROWS = {True: "↑", False: "↓", None: ""}


def figure_cell(figure: dict[str, Any] | None) -> Cell:
    """Format a summary's figure as a table cell with its interval and, unless all, its count.

    A pooled rate carries the mean over items below it; a figure that is None gives a dash.
    """
    if figure is None:
        return None
    low, high = figure["ci95"] or (None, None)
    notes = []
    if figure["aggregate"] == "pooled" and figure["mean"] is not None:
        notes.append(f"mean {number_text(figure['mean'], unit=figure['unit'])}")
    if figure["n_ok"] != figure["n_expected"]:
        notes.append(f"{figure['n_ok']} of {figure['n_expected']}")
    return Estimate(figure["value"], low, high, figure["unit"], note=", ".join(notes))


def summary_table(title: str, summaries: dict[str, dict[str, Any]], *, note: str = "") -> Table:
    """Tabulate figures as rows, systems or splits as columns, with 95 % intervals."""
    # Labels of the rows, by metric and figure, in the order of the first summary that has them.
    names: dict[tuple[str, str], str] = {}
    for summary in summaries.values():
        for metric_id, metric in summary["metrics"].items():
            for name, figure in metric["figures"].items():
                label = f"{_family_label(metric_id, name)} {ARROWS[figure['higher_is_better']]}"
                names.setdefault((metric_id, name), label.strip())
    rows: list[list[Cell]] = []
    labels = list(names.values())
    for (metric_id, name), text in names.items():
        # Two definitions of one figure are two rows, told apart by their ids.
        label = text if labels.count(text) == 1 else f"{text} [{metric_id}]"
        found = [
            summary["metrics"].get(metric_id, {"figures": {}})["figures"].get(name)
            for summary in summaries.values()
        ]
        rows.append([label, *(figure_cell(figure) for figure in found)])
    over = units_note(summaries.values())
    intervals = f"Small print: 95 % bootstrap interval over {over}; ↑ higher is better, ↓ lower."
    return Table(title, ["figure", *summaries], rows, f"{note} {intervals}".strip())


# What the keys of a metric's figures of the whole corpus stand for; others as they are.
_CORPUS_ROWS = {
    "same_speaker": "two recordings of one speaker",
    "different_speaker": "recordings of two speakers",
    "equal_error_rate": "equal error rate of the two, as a fraction",
    "threshold": "cosine of the equal error rate",
    "narrower_band": "clips of a narrower band",
    "margin": "margin over other voices' prompts",
    "margin_unnamed": "margin over other prompts, voices not named",
    "possibly_invented": "clips with words that may be invented",
}


def corpus_tables(summaries: dict[str, dict[str, Any]]) -> list[Table]:
    """Tabulate figures of all clips together, systems or splits as columns; [] without any."""
    found: dict[tuple[str, str], list[Cell]] = {}
    for place, summary in enumerate(summaries.values()):
        for metric_id, metric in summary["metrics"].items():
            for key, value in (metric.get("corpus") or {}).items():
                row = found.setdefault((metric_id, key), [None] * len(summaries))
                row[place] = _corpus_cell(value)
    rows: list[list[Cell]] = [
        [f"{metric_id.split('.')[0]}: {_CORPUS_ROWS.get(key, key)}", *cells]
        for (metric_id, key), cells in found.items()
    ]
    note = "Small print: 5th to 95th percentile, and how many there are."
    return [Table("Of all clips together", ["figure", *summaries], rows, note)] if rows else []


def _corpus_cell(value: Any) -> Cell:
    """Format a figure of a corpus: a number, or a spread of several."""
    if isinstance(value, dict):
        count = f"{value.get('pairs', 0)}"
        return Estimate(value.get("mean"), value.get("p5"), value.get("p95"), note=count)
    return value if isinstance(value, int | float) or value is None else str(value)


def _family_label(metric_id: str, name: str) -> str:
    """Name of a figure in a table; "(original)" marks one of the recordings."""
    return f"{name} (original)" if metric_id.split(".")[0].endswith("_original") else name


def summary_failures(summary: dict[str, Any], where: str = "") -> list[Failure]:
    """List everything a summary counts as failed, the metric's id after `where`."""
    return [
        Failure(failure["id"], f"{where} {metric_id}".strip(), failure["reason"])
        for metric_id, metric in summary["metrics"].items()
        for failure in metric["failures"]
    ]


def training_curves(path: Path | str) -> list[LineChart]:
    """Chart every number of a metrics.jsonl file over its "step"; [] where there is no file."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in read_json_lines(path, torn="drop", missing_ok=True):
        for key, value in row.items():
            # Flags and texts are not drawn.
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and key != "step" and isinstance(row.get("step"), int | float):
                points.setdefault(key, []).append((row["step"], value))
    return [
        LineChart(key, "step", key, [Series(key, *np.array(found, dtype=np.float64).T)])
        for key, found in points.items()
    ]


def worst_items(
    folder: Path | str, summary: dict[str, Any], families: Sequence[str], count: int
) -> list[str]:
    """List at most `count` items with the worst scores, the worst first.

    They are ranked by the first of `families`, such as "wer", that was scored, else by any metric.
    """
    by_family = {metric_id.split(".")[0]: metric_id for metric_id in reversed(summary["metrics"])}
    metric_id = next(
        (by_family[family] for family in families if family in by_family),
        next(iter(summary["metrics"])),
    )
    # Of the metric's figures the first with a better direction counts.
    figures = summary["metrics"][metric_id]["figures"]
    directed = [name for name, f in figures.items() if f["higher_is_better"] is not None]
    name = (directed or list(figures))[0]
    sign = 1.0 if figures[name]["higher_is_better"] else -1.0
    values = {
        item: value
        for item, row in item_values(folder, metric_id).items()
        if (value := row.get(name)) is not None
    }
    return sorted(values, key=lambda item: (sign * values[item], item))[:count]


def worst_clips(
    folder: Path | str,
    summary: dict[str, Any],
    sources: Mapping[str, Mapping[str, AudioSource | None]],
    *,
    families: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
) -> list[Clip]:
    """Load the clips of `worst_items`, with their figures and all sounds that can be read.

    Sources go by label, then by item; texts by item.
    """
    clips = []
    for name in worst_items(folder, summary, families, WORST_CLIPS):
        audio: dict[str, tuple[np.ndarray, int]] = {}
        for label, by_item in sources.items():
            source = by_item.get(name)
            with suppress(MetricError):
                if source is not None:
                    sound = load_sound(source)
                    audio[label] = (sound.waveform, sound.sample_rate)
        clips.append(Clip(name, (texts or {}).get(name, ""), item_notes(folder, name), audio))
    return clips


# Counts of words and errors, which the rates of a metric sum up.
_COUNTS = ("num_", "word_", "reference_", "character_")


def item_notes(folder: Path | str, item_id: str) -> dict[str, str]:
    """Read figures and transcripts of one item in a scored folder, as lines for its `Clip`."""
    scores: dict[str, str] = {}
    notes: dict[str, str] = {}
    for path in sorted((Path(folder) / "scores").glob("*.jsonl")):
        if is_hidden(path.name):
            continue
        row = item_rows(folder, path.stem).get(item_id)
        if row is None:
            continue
        if row["status"] != "ok":
            notes[f"{path.name.split('.')[0]} failed"] = row["reason"]
            continue
        for name, value in row["values"].items():
            if not name.startswith(_COUNTS):
                text = "-" if value is None else number_text(value)
                scores[_family_label(path.name, name)] = text
        for name, text in row["details"].items():
            notes[_family_label(path.name, name)] = text or "(nothing)"
    line = ", ".join(f"{name} {value}" for name, value in scores.items())
    return {"scores": line, **notes} if scores else notes


def folder_report(
    folder: Path | str,
    *,
    title: str = "",
    clips: Sequence[Clip] = (),
    provenance: dict[str, str] | None = None,
    charts: Sequence[LineChart] = (),
) -> Report:
    """Build the report of a scored folder, with the curves of a metrics.jsonl beside its summary.

    Raises:
        ValueError: The folder holds no summary.json.
    """
    folder = Path(folder)
    summary = read_summary(folder)
    definitions = [[metric_id, m["definition"]] for metric_id, m in summary["metrics"].items()]
    items = f"{summary['n_expected']} items"
    return Report(
        title=title or f"Evaluation of {folder.resolve().name}",
        subtitle=items,
        failures=summary_failures(summary),
        tables=[
            summary_table("Figures", {items: summary}),
            *corpus_tables({items: summary}),
            Table("Definitions", ("metric", "what is computed"), definitions),
        ],
        charts=[
            *charts,
            *similarity_charts(folder, summary),
            *training_curves(folder / "metrics.jsonl"),
        ],
        clips=clips,
        provenance=provenance or {},
    )
