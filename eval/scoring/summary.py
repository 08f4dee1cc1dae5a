"""Corpus figures of scored items, with intervals and all failures; reading scored folders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codec.files import read_json
from codec.files.json_lines import read_json_lines
from eval.metrics.readiness import installed_packages, used_weights
from eval.protocols import CorpusMetric, FigureInfo, Metric, Score, ScoredItem

from .bootstrap import Interval, bootstrap_mean, group_count, pooled_rate

Row = dict[str, Any]


def summarize(
    measures: Sequence[Metric],
    rows: dict[str, dict[str, Row]],
    ids: Sequence[str],
    *,
    seed: int = 0,
    speakers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Summarise rows: the same result for the same rows, in whatever order they were scored.

    Rows go by metric id, then by item id; an item of `ids` without a row counts as failed.
    Intervals are over speakers, then their items, where `speakers` names more than one, else over
    items. Figures of the whole corpus need the speaker of each item, too.

    Returns:
        {"seed", "n_expected", "n_speakers", "metrics": {metric id: {"definition", "sample_rate",
        "backend", "n_expected", "n_ok", "n_failed", "failures": [{"id", "reason"}], "figures":
        {name: figure}}}}, a figure being as `summarize_figure` returns it and a back end
        {"packages": {name: version}, "weights": {name: SHA-256}}; a `CorpusMetric` has "corpus"
        beside its figures, where it gives some.
    """
    named, metrics = speakers or {}, {}
    for measure in measures:
        info = measure.info
        found = rows.get(info.id, {})
        # In the order of `ids`, which workers and resumed runs do not change.
        good = {n: found[n] for n in ids if found.get(n, {}).get("status") == "ok"}
        values = {name: row["values"] for name, row in good.items()}
        failures = [
            {"id": name, "reason": found.get(name, {}).get("reason") or "was not scored"}
            for name in ids
            if name not in good
        ]
        metrics[info.id] = {
            "definition": info.definition,
            "sample_rate": info.sample_rate,
            "backend": {"packages": installed_packages(measure), "weights": used_weights(measure)},
            "n_expected": len(ids),
            "n_ok": len(good),
            "n_failed": len(failures),
            "failures": failures,
            "figures": {
                f.name: summarize_figure(f, values, named, len(ids), seed) for f in info.figures
            },
        }
        if isinstance(measure, CorpusMetric):
            whole = [
                ScoredItem(
                    name,
                    named.get(name, ""),
                    Score(row["values"], row.get("details", {}), row.get("stored", {})),
                )
                for name, row in good.items()
            ]
            corpus = measure.corpus(whole)
            metrics[info.id] |= {"corpus": corpus} if corpus else {}
    count = group_count([named.get(name, "") for name in ids])
    return {"seed": seed, "n_expected": len(ids), "n_speakers": count, "metrics": metrics}


def summarize_figure(
    info: FigureInfo,
    values: Mapping[str, dict[str, float | None]],
    speakers: Mapping[str, str],
    expected: int,
    seed: int,
) -> dict[str, Any]:
    """Summarise one figure over items; values and speakers go by item.

    `value` with `ci95` is the headline: pooled where the metric says so, else the mean. `mean`
    with `mean_ci95`, `median`, `p5` and `p95` run over items. Items for which the figure is
    undefined count in n_failed; with n_ok of 0, all numbers are None. `n_speakers` counts the
    speakers of the items that have the figure, 0 where none is named: from 2 on, the intervals are
    over them.
    """
    named = {name: row for name, row in values.items() if row.get(info.name) is not None}
    defined, groups = list(named.values()), [speakers.get(name, "") for name in named]
    head: dict[str, Any] = {
        "unit": info.unit,
        "higher_is_better": info.higher_is_better,
        "aggregate": "pooled" if info.numerator else "mean",
    }
    if info.numerator and info.denominator:
        head |= {"numerator": info.numerator, "denominator": info.denominator}
    counts = {
        "n_expected": expected,
        "n_ok": len(defined),
        "n_failed": expected - len(defined),
        "n_speakers": group_count(groups),
    }
    # No item left a figure: the same keys without numbers, so that tables keep their rows.
    if not defined:
        names = ("value", "ci95", "mean", "mean_ci95", "median", "p5", "p95")
        return {**head, **dict.fromkeys(names), **counts}
    data = _column(defined, info.name)
    # The headline of a rate, such as WER, is pooled over items; of any other figure it is the mean.
    mean = bootstrap_mean(data, groups=groups, seed=seed)
    headline = mean
    if info.numerator and info.denominator:
        above, below = (_column(defined, key) for key in (info.numerator, info.denominator))
        headline = pooled_rate(above, below, groups=groups, seed=seed)
    low, middle, high = np.quantile(data, [0.05, 0.5, 0.95])
    numbers = {"median": float(middle), "p5": float(low), "p95": float(high)}
    means = {"mean": mean.value, "mean_ci95": _ends(mean)}
    return {**head, "value": headline.value, "ci95": _ends(headline), **means, **numbers, **counts}


def _column(rows: Sequence[dict[str, float | None]], name: str) -> np.ndarray:
    """Values of one key, (N,) float64."""
    return np.array([row[name] for row in rows], dtype=np.float64)


def _ends(interval: Interval) -> list[float] | None:
    """[low, high], or None where one item leaves no interval."""
    if interval.low is None or interval.high is None:
        return None
    return [interval.low, interval.high]


def read_summary(folder: Path | str) -> dict[str, Any]:
    """Read summary.json of a scored folder.

    Raises:
        ValueError: The folder holds none.
    """
    path = Path(folder) / "summary.json"
    if not path.is_file():
        raise ValueError(f"expected a scored folder with summary.json, got {folder}")
    return read_json(path)


def read_items(folder: Path | str) -> list[Row]:
    """Read items.jsonl of a scored folder; [] where there is none."""
    return read_json_lines(Path(folder) / "items.jsonl", torn="drop", missing_ok=True)


def item_rows(folder: Path | str, metric_id: str) -> dict[str, Row]:
    """Read the last row of each item from a score file of a scored folder.

    A row that was made of other audio or text than items.jsonl names today is left out: the score
    files are only ever appended to.
    """
    keys = {item["id"]: item.get("key") for item in read_items(folder)}
    path = Path(folder) / "scores" / f"{metric_id}.jsonl"
    rows = {row["id"]: row for row in read_json_lines(path, torn="drop", missing_ok=True)}
    # What stands after the dot of a row's key is a hash of weights, see `row_keys`.
    return {
        name: row
        for name, row in rows.items()
        if name in keys and row["key"].partition(".")[0] == keys[name]
    }


def item_values(folder: Path | str, metric_id: str) -> dict[str, dict[str, float | None]]:
    """Read the values of each item that a metric could score, by figure."""
    rows = item_rows(folder, metric_id)
    return {name: row["values"] for name, row in rows.items() if row["status"] == "ok"}


def item_speakers(folder: Path | str) -> dict[str, str]:
    """Read the speaker of each item; "" where none is named."""
    return {item["id"]: item.get("speaker") or "" for item in read_items(folder)}


def resampled_over(summaries: Iterable[dict[str, Any]]) -> str:
    """Say what the intervals of summaries are over, such as "30 speakers, then their clips".

    Summaries of earlier releases count no speakers: theirs are over clips.
    """
    counts = sorted({summary.get("n_speakers") or 0 for summary in summaries}, reverse=True)
    texts = [units_text(count) for count in counts]
    return " or ".join(dict.fromkeys(texts)) or units_text(0)


def units_note(summaries: Iterable[dict[str, Any]]) -> str:
    """Say what intervals are over, and which figures have clips of fewer speakers than that.

    A figure may exist for clips of one speaker alone, as where only those have a text.
    """
    found = list(summaries)
    fewer: dict[str, dict[str, None]] = {}
    for summary in found:
        for metric_id, metric in summary["metrics"].items():
            for name, figure in metric["figures"].items():
                count, family = figure.get("n_speakers"), metric_id.split(".")[0]
                if count is not None and figure["ci95"] and count != summary.get("n_speakers"):
                    label = name if name.startswith(family) else f"{family}/{name}"
                    fewer.setdefault(units_text(count), {})[label] = None
    parts = [f"{', '.join(names)}: over {units}" for units, names in fewer.items()]
    return "; ".join([resampled_over(found), *parts])


def units_text(n_speakers: int) -> str:
    """Name the unit that was resampled where the items name that many speakers."""
    if n_speakers > 1:
        return f"{n_speakers} speakers, then their clips"
    return "clips of one speaker" if n_speakers else "clips, whose speakers are not named"


def find_figure(summary: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Find a figure by family and name ("wer_original/wer") or by name alone ("stoi"), or None.

    A family is the part of a metric id before the first dot; a name alone is looked up in the
    first metric that has it.
    """
    family, _, figure = name.rpartition("/")
    for metric_id, metric in summary["metrics"].items():
        if (not family or metric_id.split(".")[0] == family) and figure in metric["figures"]:
            return metric["figures"][figure]
    return None


# What lies below is the rounding of arithmetic, such as of a mean of differences.
_NOISE = 1e-9


def number_text(value: float, *, unit: str = "", digits: int | None = None) -> str:
    """Format a number for people: three or four significant digits; "%" shows a fraction.

    A number that so many digits would show as 0 has as many as its first one takes, so that a
    difference that is told from 0 does not read as 0.
    """
    shown = 100.0 * value if unit == "%" else value
    size = abs(shown)
    if size < _NOISE:
        shown = size = 0.0
    if digits is None:
        if unit != "%" and shown == int(shown) and size < 1e6:
            digits = 0
        elif unit == "%":
            digits = 1
        else:
            digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
        if 0.0 < size < 0.5 * 10.0**-digits:
            digits = -math.floor(math.log10(size))
    # Thousands are set apart by a space.
    text = f"{shown:,.{digits}f}" if size < 1e9 else f"{shown:.3g}"
    return f"{text.replace(',', ' ')} {unit}".rstrip()
