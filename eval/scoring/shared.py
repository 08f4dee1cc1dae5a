"""Figures of several systems over the items that all of them have a figure for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.protocols import FigureInfo

from .same_items import require_same_content
from .summary import item_speakers, item_values, read_summary, summarize_figure

Figures = dict[str, dict[str, dict[str, Any]]]


def shared_figures(folders: Mapping[str, Path]) -> dict[str, Figures]:
    """Read the figures of scored folders, each over the items that every system has it for.

    Means over different items compare items, not systems: a pitch error exists only where a system
    left a pitch. A system that has a figure for no item at all does not narrow it for the others.

    Args:
        folders: Scored folder of each system, of the same items.

    Raises:
        ComparisonError: An id stands for another recording, text or prompt in one of the folders.

    Returns:
        For each system {metric id: {figure name: figure}}, as in its summary; `n_failed` counts
        the items outside the shared ones.
    """
    all_folders = list(folders.values())
    for folder in all_folders[1:]:
        require_same_content(all_folders[0], folder)
    summaries = {name: read_summary(folder) for name, folder in folders.items()}
    found: dict[str, Figures] = {
        name: {key: dict(metric["figures"]) for key, metric in summary["metrics"].items()}
        for name, summary in summaries.items()
    }
    for metric_id in dict.fromkeys(key for each in found.values() for key in each):
        having = [name for name in folders if metric_id in found[name]]
        values = {name: item_values(folders[name], metric_id) for name in having}
        figures = dict.fromkeys(key for name in having for key in found[name][metric_id])
        for figure in figures:
            defined = {
                name: [i for i, row in values[name].items() if row.get(figure) is not None]
                for name in having
            }
            defined = {name: ids for name, ids in defined.items() if ids}
            shared = set.intersection(*map(set, defined.values())) if defined else set()
            for name, ids in defined.items():
                if len(ids) > len(shared):
                    found[name][metric_id][figure] = _over(
                        folders[name], summaries[name], metric_id, figure, values[name], shared
                    )
    return found


def _over(
    folder: Path,
    summary: dict[str, Any],
    metric_id: str,
    name: str,
    values: Mapping[str, dict[str, float | None]],
    shared: set[str],
) -> dict[str, Any]:
    """Summarise one figure of a folder over some of its items, in the order of the items."""
    head, speakers = summary["metrics"][metric_id]["figures"][name], item_speakers(folder)
    info = FigureInfo(
        name,
        head["unit"],
        head["higher_is_better"],
        head.get("numerator", ""),
        head.get("denominator", ""),
    )
    chosen = {item: values[item] for item in speakers if item in shared}
    return summarize_figure(info, chosen, speakers, summary["n_expected"], summary["seed"])
