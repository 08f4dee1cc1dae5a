"""Folders of scores: what must not be replaced there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from codec.files import read_json
from codec.files.json_lines import iter_json_lines
from eval.protocols import Metric

from .summary import read_summary

# Held while the items of a folder are scored.
LOCK = ".scores.lock"


def require_own(folder: Path) -> None:
    """Refuse a folder whose files scores would replace, such as the record of a generator.

    Raises:
        ValueError: items.jsonl or run.json in the folder is not that of scores.
    """
    items, run = folder / "items.jsonl", folder / "run.json"
    rows = iter_json_lines(items, torn="keep whole") if items.is_file() else iter(())
    _, first = next(rows, (1, {"key": ""}))
    foreign = [items] if "key" not in first else []
    if run.is_file() and "manifest_sha256" not in read_json(run, required=()):
        foreign.append(run)
    if foreign:
        raise ValueError(
            f"expected a folder for scores, got {folder} with {foreign[0].name} of another "
            "program, which would be lost: name another folder by --out"
        )


def require_kept(folder: Path, metrics: Sequence[Metric]) -> None:
    """Refuse to replace a summary by one without some of its metrics.

    Rows are kept in any case, so that naming the earlier metrics again costs nothing.

    Raises:
        ValueError: The folder's summary has metrics that are not among `metrics`.
    """
    if not (folder / "summary.json").is_file():
        return
    before, now = list(read_summary(folder)["metrics"]), {metric.info.id for metric in metrics}
    lost = [name for name in before if name not in now]
    if lost:
        raise ValueError(
            f"expected a folder without other scores, got {folder} with {', '.join(lost)}, which "
            "its summary and report would lose: name another folder by --out (or this one, to "
            "replace them), or add them to --metrics (what is scored is not scored again)"
        )
