"""Pair manifests of likelihood tests.

A pair manifest holds one JSON object a line: {"id", "suite", "part", "pos", "neg"}, `pos` and
`neg` being paths below its folder; "change_pos" and "change_neg" (s), where they are, are the times
from which on the two differ, "group" names what a pair shares with others that resemble it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codec.files.json_lines import iter_json_lines, write_json_lines


@dataclass(frozen=True)
class LikelihoodPair:
    """Two recordings of which the first should be likelier."""

    id: str  # unique within its suite
    suite: str  # name of the test, such as "swuggy" or "speaker_switch"
    part: str  # group within it, such as a phenomenon or a split; "" for none
    pos: Path  # the recording that should be likelier
    neg: Path
    change_pos: float | None = None  # seconds from which on `pos` differs; None where unknown
    change_neg: float | None = None  # likewise in `neg`
    # What the pair shares with others that resemble it, such as a speaker, or an item that several
    # voices speak; None where it is by itself.
    group: str | None = None


def write_pairs(path: Path, pairs: Iterable[LikelihoodPair]) -> Path:
    """Write a pair manifest; paths become relative to its folder where they lie below it."""
    rows = []
    for pair in pairs:
        row = {k: v for k, v in asdict(pair).items() if v is not None}
        for side in ("pos", "neg"):
            audio = Path(row[side])
            inside = audio.is_relative_to(path.parent)
            row[side] = (audio.relative_to(path.parent) if inside else audio).as_posix()
        rows.append(row)
    return write_json_lines(path, rows)


def read_pairs(path: Path) -> list[LikelihoodPair]:
    """Read a pair manifest.

    Raises:
        ValueError: No such file, no pair in it, a line without its fields, or an id twice.
    """
    if not path.is_file():
        raise ValueError(f"expected a pair manifest (JSON lines), got {path}")
    pairs = [_pair(row, f"{path}:{n}", path.parent) for n, row in iter_json_lines(path)]
    counts = Counter((pair.suite, pair.id) for pair in pairs)
    twice = sorted(key for key, count in counts.items() if count > 1)
    if not pairs or twice:
        raise ValueError(
            f"{path}: expected pairs, every id once in its suite, got {twice[:8] or 0}"
        )
    return pairs


def _pair(row: dict[str, Any], where: str, folder: Path) -> LikelihoodPair:
    """Pair of a line of the manifest."""
    missing = [k for k in ("id", "suite", "pos", "neg") if not isinstance(row.get(k), str)]
    if missing:
        raise ValueError(f"{where}: expected texts under {missing}, got {sorted(row)}")
    changes = [row.get(key) for key in ("change_pos", "change_neg")]
    wrong = [
        each
        for each in changes
        if each is not None and (type(each) not in (int, float) or not 0 <= each < math.inf)
    ]
    if wrong:
        raise ValueError(f"{where}: expected changes in seconds >= 0, got {wrong}")
    for key in ("part", "group"):
        if not isinstance(row.get(key), str | None):
            raise ValueError(f"{where}: expected a text under {key!r}, got {row[key]!r:.40}")
    sides = (folder / row["pos"], folder / row["neg"])
    part, group = row.get("part") or "", row.get("group")
    return LikelihoodPair(row["id"], row["suite"], part, *sides, *changes, group=group)
