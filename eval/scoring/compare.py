"""Paired comparison of two systems on the same clips: differences, intervals, wins and losses.

Figures vary far more between clips than between systems, so the interval of a difference over the
same clips is several times narrower than that of either mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from codec.files.names import composed

from .bootstrap import group_count, paired_rates
from .same_items import (
    ComparisonError,
    items_by_name,
    require_same_content,
    require_same_weights,
    values_by_name,
)
from .summary import item_speakers, number_text, read_summary, units_text


@dataclass(frozen=True)
class FigureDifference:
    """One figure of two systems on the items both have it for."""

    metric: str
    figure: str
    unit: str
    higher_is_better: bool | None  # None where neither direction is better
    n_expected: int
    n_paired: int  # items both have the figure for
    missing: tuple[str, ...]  # items that one of them lacks it for, sorted
    ours: float | None = None  # the figure of A on these items (pooled where the metric pools)
    theirs: float | None = None  # likewise of B
    difference: float | None = None  # ours - theirs
    low: float | None = None  # lower end of the interval of the difference; None for a single item
    high: float | None = None
    wins: int = 0  # items on which A is better (larger, where neither direction is)
    losses: int = 0  # items on which A is worse (smaller)
    ties: int = 0  # items on which both are equal
    n_speakers: int = 0  # of the paired items, 0 where none is named; intervals are over 2 or more

    @property
    def outcome(self) -> str:
        """`A better`, `B better` or `differs` where the interval leaves out 0."""
        if self.low is None or self.high is None or self.low <= 0.0 <= self.high:
            return "not resolved"
        if self.higher_is_better is None:
            return "differs"
        return "A better" if (self.low > 0.0) == self.higher_is_better else "B better"


@dataclass(frozen=True)
class Comparison:
    """All figures of two scored folders, A and B."""

    ours: str
    theirs: str
    figures: tuple[FigureDifference, ...]  # differences, in the order of A's metrics
    is_verified: bool  # whether both folders hold hashes of their recordings; older ones do not

    @property
    def missing(self) -> tuple[str, ...]:
        """Items that some figure could not be paired for, sorted."""
        return tuple(sorted({name for figure in self.figures for name in figure.missing}))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a JSON object."""
        figures = [{**asdict(figure), "verdict": figure.outcome} for figure in self.figures]
        return {**asdict(self), "figures": figures, "missing": self.missing}

    def to_markdown(self) -> str:
        """Format a table, one row a figure, with notes below."""
        head = (
            "figure",
            self.ours,
            self.theirs,
            "difference",
            "95 %",
            "W / L / T",
            "clips",
            "speakers",
            "",
        )
        lines = [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
        for row in self.figures:
            ends = [_text(end, row.unit, signed=True) for end in (row.low, row.high)]
            values = [_text(value, row.unit) for value in (row.ours, row.theirs)]
            cells = [_label(row), *values, _text(row.difference, row.unit, signed=True)]
            cells += ["-" if row.low is None else " to ".join(ends)]
            cells += [f"{row.wins} / {row.losses} / {row.ties}"]
            cells += [f"{row.n_paired}/{row.n_expected}", str(row.n_speakers or "-"), row.outcome]
            lines.append(f"| {' | '.join(cells)} |")
        units = units_text(max((row.n_speakers for row in self.figures), default=0))
        notes = [
            f"A = {self.ours}, B = {self.theirs}; difference = A - B on the same clips, "
            f"bootstrap over {units}; of figures in %, in percentage points. Each row is its own "
            "test: of twenty rows of equal systems one is expected to look resolved.",
        ]
        if not self.is_verified:
            notes.append("The folders hold no hashes of their recordings: not verified.")
        if self.missing:
            notes.append(f"Not paired for every figure: {', '.join(self.missing[:10])}.")
        return "\n".join([*lines, "", *notes]) + "\n"


def compare_folders(
    ours: Path | str,
    theirs: Path | str,
    *,
    metrics: Sequence[str] | None = None,
    names: tuple[str, str] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compute paired differences of two folders that `score_pairs` wrote.

    Args:
        ours: Folder A.
        theirs: Folder B.
        metrics: Ids or families ("stoi") to compare; None takes all, which must be the same.
        names: Of A and B; None for the names of their folders.
        seed: Seed of the intervals.

    Raises:
        ComparisonError: No scored folder, other items, recordings, texts or prompts, other metric
            ids or weights.
    """
    folders = (Path(ours), Path(theirs))
    summaries = [read_summary(folder) for folder in folders]
    is_verified = _same_items(*folders)
    chosen = _same_metrics(*(list(s["metrics"]) for s in summaries), wanted=metrics)
    require_same_weights(summaries, chosen)
    speakers = {composed(item): name for item, name in item_speakers(folders[0]).items()}
    figures = []
    for metric in chosen:
        rows = [values_by_name(folder, metric) for folder in folders]
        for name, head in summaries[0]["metrics"][metric]["figures"].items():
            figures.append(_difference(metric, name, head, rows, speakers, seed))
    a, b = names or _names(*folders)
    return Comparison(a, b, tuple(figures), is_verified)


def _same_items(ours: Path, theirs: Path) -> bool:
    """Compare the items of both folders; True where the recordings are hashed.

    Raises:
        ComparisonError: They differ.
    """
    a, b = items_by_name(ours), items_by_name(theirs)
    if not a or a.keys() != b.keys():
        alone = sorted(a.keys() ^ b.keys())
        raise ComparisonError(
            f"expected the same items in {ours} and {theirs}, got {len(a)} and {len(b)}, of which "
            f"{len(alone)} are in one only: {', '.join(alone[:5])}"
        )
    require_same_content(ours, theirs)
    return all("reference" in row for rows in (a, b) for row in rows.values())


def _same_metrics(
    ours: Sequence[str], theirs: Sequence[str], *, wanted: Sequence[str] | None
) -> list[str]:
    """Select the metric ids to compare, all of them in both.

    Raises:
        ComparisonError: An id that one of them lacks.
    """
    if wanted is not None:
        # A metric may be named by its id or by its family, the part before the first dot.
        both = {name for metric in (*ours, *theirs) for name in (metric, metric.split(".")[0])}
        unknown = [name for name in wanted if name not in both]
        if unknown:
            raise ComparisonError(f"expected metrics of {sorted(both)}, got {unknown}")

        def keep(ids: Sequence[str]) -> list[str]:
            return [i for i in ids if i in wanted or i.split(".")[0] in wanted]

        ours, theirs = keep(ours), keep(theirs)
    if sorted(ours) != sorted(theirs):
        raise ComparisonError(
            f"expected the same metric ids, got {sorted(set(ours) - set(theirs))} in A only and "
            f"{sorted(set(theirs) - set(ours))} in B only; another id is another definition. "
            "Score both alike, or name what both have"
        )
    return list(ours)


def _difference(
    metric: str,
    name: str,
    head: dict[str, Any],
    rows: Sequence[dict[str, dict[str, Any]]],
    speakers: Mapping[str, str],
    seed: int,
) -> FigureDifference:
    """Compare one figure over the items that both rows have it for.

    Speakers go by item, for every item of the folders.
    """
    ids = list(speakers)
    defined = [i for i in ids if all(r.get(i, {}).get(name) is not None for r in rows)]
    missing = tuple(sorted(set(ids) - set(defined)))
    row = FigureDifference(
        metric, name, head["unit"], head["higher_is_better"], len(ids), len(defined), missing
    )
    if not defined:
        return row
    # A mean is a pooled rate whose denominators are 1.
    keys = (head.get("numerator") or name, head.get("denominator"))
    ours, theirs = ((_column(r, defined, keys[0]), _column(r, defined, keys[1])) for r in rows)
    groups = [speakers[name] for name in defined]
    value, low, high = paired_rates(ours, theirs, groups=groups, seed=seed)
    # Wins are counted by the items' own values, not by their shares of the pooled figure.
    change = _column(rows[0], defined, name) - _column(rows[1], defined, name)
    larger, smaller = int((change > 0).sum()), int((change < 0).sum())
    wins, losses = (smaller, larger) if row.higher_is_better is False else (larger, smaller)
    return replace(
        row,
        ours=float(ours[0].sum() / ours[1].sum()),
        theirs=float(theirs[0].sum() / theirs[1].sum()),
        difference=value,
        low=low,
        high=high,
        wins=wins,
        losses=losses,
        ties=len(defined) - larger - smaller,
        n_speakers=group_count(groups),
    )


def _column(side: dict[str, dict[str, Any]], ids: Sequence[str], key: str | None) -> np.ndarray:
    """Values (N,) of one key; ones without a key."""
    if key is None:
        return np.ones(len(ids))
    return np.array([side[name][key] for name in ids], dtype=np.float64)


def _names(ours: Path, theirs: Path) -> tuple[str, str]:
    """Names of the folders, with their parents where both have the same name."""
    a, b = ours.resolve(), theirs.resolve()
    if a.name != b.name:
        return a.name, b.name
    return f"{a.parent.name}/{a.name}", f"{b.parent.name}/{b.name}"


def _label(row: FigureDifference) -> str:
    """Family, figure and the better direction, such as "stoi ↑"."""
    family = row.metric.split(".")[0]
    name = row.figure if family == row.figure else f"{family}/{row.figure}"
    arrow = {True: " ↑", False: " ↓", None: ""}[row.higher_is_better]
    return f"{name}{arrow}"


def _text(value: float | None, unit: str, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    return ("+" if signed and value > 0 else "") + number_text(value, unit=unit)
