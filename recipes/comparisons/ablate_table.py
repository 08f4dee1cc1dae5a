"""The table of an ablation: every variant's figures, and its paired differences from `full`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.files import read_json, write_json, write_text
from codec.files.json_lines import read_json_lines
from codec.provenance import provenance
from eval.scoring.bootstrap import paired_difference
from eval.scoring.shared import shared_figures
from eval.scoring.summary import item_speakers, item_values, units_text
from recipes.runner.config import Config
from recipes.runner.markdown import table_lines

from .comparison_table import ComparisonTable

PROGRAM = "python -m recipes.comparisons.ablate"
FULL = "full"
# Better directions in headings.
ARROWS = {True: " ↑", False: " ↓", None: ""}
# In the JSON only: they describe the alignment of signals, not the variants.
HIDDEN = ("stoi_raw", "estoi_raw", "lag_ms", "lag_over_2ms")


@dataclass(frozen=True)
class Variant:
    """A codec to train: its name, the comment in its YAML file, its settings."""

    name: str
    note: str
    config: Config


def write_table(
    variants: Sequence[Variant],
    measured: Mapping[tuple[str, str], Path],
    run: Path,
    argv: Sequence[str] | None = None,
) -> ComparisonTable:
    """Write ablation.md and ablation.json from the figures of the variants that are measured.

    Args:
        variants: In the order of the rows.
        measured: Folders of figures by the variant's name and the split, in that order.
        run: Folder with a folder for each variant.
        argv: Words of the call, for the command line in the table; None for the process's.
    """
    notes = {variant.name: variant.note for variant in variants}
    # Rows by split and variant; `full` itself has no difference.
    rows: dict[str, dict[str, Any]] = {}
    for (name, split), folder in measured.items():
        full = measured.get((FULL, split))
        rows.setdefault(split, {})[name] = _row(folder, full if name != FULL else None)
    for split, table in rows.items():
        shared = shared_figures({name: measured[name, split] for name in table})
        for name, row in table.items():
            labels = _labels(read_json(measured[name, split] / "summary.json"))
            for metric_id, figures_of in shared[name].items():
                for key, figure in figures_of.items():
                    failed = figure["n_failed"]
                    row[labels[metric_id, key]] |= {
                        "value": figure["value"],
                        "ci95": figure["ci95"],
                        "without": failed,
                    }
    done = read_json(run / FULL / "train_codec" / "done.json")
    # The figures belong to the code that trained `full`, not to the code that writes the table.
    origin: dict[str, Any] = provenance(PROGRAM, argv, commit=done["commit"])
    origin["seconds of training"] = {
        name: _seconds(run / name) for name in notes if (run / name / "train_codec").is_dir()
    }
    origin["seconds a step, least window"] = {
        name: _pace(run / name) for name in notes if (run / name / "train_codec").is_dir()
    }
    figures = {"variants": notes, "splits": rows, **origin}
    write_json(run / "ablation.json", figures)
    markdown = _markdown(rows, notes, origin)
    write_text(run / "ablation.md", markdown)
    return ComparisonTable(markdown, figures)


def _row(folder: Path, full: Path | None) -> dict[str, Any]:
    """Figures of one variant: mean, interval, and difference from `full` on the same clips."""
    summary = read_json(folder / "summary.json")
    row: dict[str, Any] = {
        "clips": summary["n_expected"],
        "speakers": summary.get("n_speakers", 0),  # absent from summaries of earlier releases
        "codebook": read_json(folder / "codebook.json"),
    }
    labels = _labels(summary)
    for metric_id, metric in summary["metrics"].items():
        for name, figure in metric["figures"].items():
            entry = {"value": figure["value"], "ci95": figure["ci95"], "failed": figure["n_failed"]}
            entry |= {key: figure[key] for key in ("unit", "higher_is_better")}
            if full is not None:
                entry["difference"] = _difference(folder, full, metric_id, name)
            row[labels[metric_id, name]] = entry
    return row


def _labels(summary: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Name every figure of a summary by itself, with its metric's family where two share a name.

    Figures that only describe the alignment of signals are one, whichever metric gives them.
    """
    found = [(m, name) for m, metric in summary["metrics"].items() for name in metric["figures"]]
    counts = Counter(name for _, name in found)
    return {
        (metric_id, name): f"{metric_id.split('.')[0]}/{name}"
        if counts[name] > 1 and name not in HIDDEN
        else name
        for metric_id, name in found
    }


def _difference(folder: Path, full: Path, metric_id: str, name: str) -> dict[str, Any] | None:
    """Mean of variant minus full with its interval, over clips that both could score.

    Intervals are over the clips' speakers, then their clips, where there are two or more.
    """
    # Files of scores are only appended to: rows of other sounds or clips than now do not count.
    ours, theirs = (
        {
            item: value
            for item, values in item_values(where, metric_id).items()
            if (value := values.get(name)) is not None
        }
        for where in (folder, full)
    )
    # Sorted, since the bootstrap draws pairs by their place.
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    speakers = item_speakers(folder)
    result = paired_difference(
        [ours[i] for i in shared],
        [theirs[i] for i in shared],
        groups=[speakers.get(i, "") for i in shared],
    )
    interval = result.interval
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": len(shared),
        "n_speakers": interval.groups,
    }


def _seconds(run: Path) -> float | None:
    """Seconds that the variant's codec trained, None where it did not finish."""
    path = run / "train_codec" / "done.json"
    return read_json(path, required=("seconds",))["seconds"] if path.is_file() else None


def _pace(run: Path) -> float | None:
    """Seconds a step of the fastest window that training has logged, of its last phase.

    Other work on the machine slows most windows, and seldom all of them.
    """
    paths = sorted((run / "train_codec").glob("*/metrics.jsonl"), key=lambda p: p.stat().st_mtime)
    rows = read_json_lines(paths[-1], torn="drop") if paths else []
    return min((row["seconds_per_step"] for row in rows if "seconds_per_step" in row), default=None)


def _markdown(
    rows: dict[str, dict[str, Any]], notes: dict[str, str], origin: dict[str, Any]
) -> str:
    """One table a split, the notes, and the origin of the figures."""
    parts = []
    for split, table in rows.items():
        first = next(iter(table.values()))
        hidden = ("clips", "speakers", "codebook", *HIDDEN)
        names = [key for key in first if key not in hidden]
        heads = [_heading(key, first[key]) for key in names]
        lines = []
        for name, row in table.items():
            codebook = row["codebook"]
            used = f"{codebook['used']:,} in {codebook['num_tokens']:,}"
            cells = [_cell(row.get(figure)) for figure in names]
            lines.append([name, *cells, used, str(round(codebook["perplexity"]))])
        parts += [
            f"{split}, {first['clips']} clips: mean, 95 % interval over "
            f"{units_text(first['speakers'])}; below it the paired difference "
            'from `full` on the same clips; "without": clips that some variant has no such figure '
            "for, left out of every mean.",
            "",
            *table_lines(["variant", *heads, "codes used", "perplexity"], lines),
            "",
        ]
    parts += [f"- `{name}`: {note}" for name, note in notes.items()]
    parts += ["", *(f"{key}: {value}" for key, value in origin.items())]
    return "\n".join(parts) + "\n"


def _heading(name: str, figure: dict[str, Any]) -> str:
    """Name of a figure with its unit and its better direction, such as `mel_l1, nats ↓`."""
    unit = f", {figure['unit']}" if figure["unit"] else ""
    return f"{name}{unit}{ARROWS[figure['higher_is_better']]}"


def _cell(figure: dict[str, Any] | None) -> str:
    """`0.82 (0.81 to 0.83)<br>-0.02 (-0.03 to -0.01)`, or a dash."""
    if figure is None or figure["value"] is None:
        return "-"
    # Shares are shown in per cent, as the heading says.
    scale = 100.0 if figure["unit"] == "%" else 1.0
    text = f"{scale * figure['value']:.3g}"
    if figure["ci95"]:
        low, high = (scale * end for end in figure["ci95"])
        text += f" ({low:.3g} to {high:.3g})"
    without = figure.get("without", figure["failed"])
    if without:
        text += f", {without} without"
    change = figure.get("difference")
    if change is not None and change["low"] is not None:
        value, low, high = (scale * change[key] for key in ("value", "low", "high"))
        text += f"<br>{value:+.2g} ({low:+.2g} to {high:+.2g})"
    return text
