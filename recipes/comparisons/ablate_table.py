"""The table of an ablation: every variant's figures, and its paired differences from `full`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from codec.files import write_json, write_text
from codec.json_lines import read_json_lines
from codec.provenance import git_commit, hardware
from eval.scoring.bootstrap import paired_difference

FULL = "full"
# In the JSON only: they say how figures were aligned, not how variants differ.
HIDDEN = ("stoi_raw", "estoi_raw", "lag_ms", "lag_over_2ms")


class NamedVariant(Protocol):
    """What a row of the table is of."""

    @property
    def name(self) -> str:
        """Of the variant and its folder."""
        ...

    @property
    def note(self) -> str:
        """What it changes, in words."""
        ...


@dataclass(frozen=True)
class AblationTable:
    """The table as Markdown and as plain figures."""

    markdown: str
    figures: dict[str, Any]


def write_table(variants: Sequence[NamedVariant], run: Path, argv: Sequence[str]) -> AblationTable:
    """Write ablation.md and ablation.json from the folders of the variants that are measured."""
    measured = {
        (variant.name, path.parent.name): path.parent
        for variant in variants
        for path in sorted((run / variant.name / "measure").glob("*/codebook.json"))
    }
    notes = {variant.name: variant.note for variant in variants}
    rows: dict[str, dict[str, Any]] = {}
    for (name, split), folder in measured.items():
        full = measured.get((FULL, split))
        rows.setdefault(split, {})[name] = _row(folder, full if name != FULL else None)
    done = json.loads((run / FULL / "train_codec" / "done.json").read_text(encoding="utf-8"))
    provenance = {
        "command": shlex.join(["python", "-m", "recipes.comparisons.ablate", *argv]),
        "commit": done["commit"] or git_commit() or "not a git checkout",
        "hardware": hardware(),
        "date": date.today().isoformat(),
        "seconds of training": {
            name: _seconds(run / name) for name in notes if (run / name / "train_codec").is_dir()
        },
    }
    figures = {"variants": notes, "splits": rows, **provenance}
    write_json(run / "ablation.json", figures)
    markdown = _markdown(rows, notes, provenance)
    write_text(run / "ablation.md", markdown)
    return AblationTable(markdown, figures)


def _row(folder: Path, full: Path | None) -> dict[str, Any]:
    """Figures of one variant: mean, interval, and difference from `full` on the same clips."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    row: dict[str, Any] = {
        "clips": summary["n_expected"],
        "codebook": json.loads((folder / "codebook.json").read_text(encoding="utf-8")),
    }
    for metric_id, metric in summary["metrics"].items():
        for name, figure in metric["figures"].items():
            entry = {"value": figure["value"], "ci95": figure["ci95"], "failed": figure["n_failed"]}
            if full is not None:
                entry["difference"] = _difference(folder, full, metric_id, name)
            row[name] = entry
    return row


def _difference(folder: Path, full: Path, metric_id: str, name: str) -> dict[str, Any] | None:
    """Mean of variant minus full with its interval, over clips that both could score."""
    ours, theirs = (
        {
            row["id"]: row["values"][name]
            for row in read_json_lines(where / "scores" / f"{metric_id}.jsonl")
            if row["status"] == "ok" and row["values"].get(name) is not None
        }
        for where in (folder, full)
    )
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    result = paired_difference([ours[i] for i in shared], [theirs[i] for i in shared])
    interval = result.interval
    return {"value": interval.value, "low": interval.low, "high": interval.high, "n": len(shared)}


def _seconds(run: Path) -> float | None:
    """How long the variant's codec trained."""
    path = run / "train_codec" / "done.json"
    return json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.is_file() else None


def _markdown(
    rows: dict[str, dict[str, Any]], notes: dict[str, str], provenance: dict[str, Any]
) -> str:
    """One table a split, the notes, and what the figures rest on."""
    parts = []
    for split, table in rows.items():
        names = [key for key, value in next(iter(table.values())).items() if _is_figure(key, value)]
        head = ["variant", *names, "codes used", "perplexity"]
        lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        for name, row in table.items():
            codebook = row["codebook"]
            cells = [_cell(row.get(figure)) for figure in names]
            used = f"{codebook['used']:,} in {codebook['num_tokens']:,}"
            lines.append(
                f"| {' | '.join([name, *cells, used, str(round(codebook['perplexity']))])} |"
            )
        clips = next(iter(table.values()))["clips"]
        parts += [
            f"{split}, {clips} clips: mean, 95 % interval; below it the paired difference "
            'from `full` on the same clips; "without": clips that have no such figure.',
            "",
            *lines,
            "",
        ]
    parts += [f"- `{name}`: {note}" for name, note in notes.items()]
    parts += ["", *(f"{key}: {value}" for key, value in provenance.items())]
    return "\n".join(parts) + "\n"


def _is_figure(key: str, value: Any) -> bool:
    """Whether an entry of a row is a figure of a metric."""
    return key not in ("clips", "codebook", *HIDDEN) and isinstance(value, dict)


def _cell(figure: dict[str, Any] | None) -> str:
    """`0.82 (0.81 to 0.83)<br>-0.02 (-0.03 to -0.01)`, or a dash."""
    if figure is None or figure["value"] is None:
        return "-"
    text = f"{figure['value']:.3g}"
    if figure["ci95"]:
        low, high = figure["ci95"]
        text += f" ({low:.3g} to {high:.3g})"
    if figure["failed"]:
        text += f", {figure['failed']} without"
    change = figure.get("difference")
    if change is not None and change["low"] is not None:
        text += f"<br>{change['value']:+.2g} ({change['low']:+.2g} to {change['high']:+.2g})"
    return text
