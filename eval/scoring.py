"""Scores pairs of waveforms by metrics, one append-only file a metric, resuming what is there."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .files import cut_torn_line, json_text, read_json_lines, write_whole
from .protocols import Item, Metric, MetricError, Need
from .registry import installed_packages, require_ready
from .summary import summarize
from .waveforms import AudioSource, Sound, load_sound, resampled, sound_digest

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Pair:
    """One utterance to score.

    Args:
        id: Unique name.
        reference: Recording: a file or a `Sound`; None where no metric needs it.
        estimate: Waveform under test, likewise.
        text: Transcript, "" without one.
        speaker: Who speaks, kept in items.jsonl.
    """

    id: str
    reference: AudioSource | None = None
    estimate: AudioSource | None = None
    text: str = ""
    speaker: str = ""

    @property
    def key(self) -> str:
        """Hash of all that scores depend on; a row with another key is scored again."""
        parts = (sound_digest(self.reference), sound_digest(self.estimate), self.text)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def score_pairs(
    pairs: Sequence[Pair],
    metrics: Sequence[Metric],
    folder: Path | str,
    *,
    num_workers: int = 0,
    show_progress: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores every pair by every metric, metric by metric, and summarises.

    Writes items.jsonl, scores/<metric id>.jsonl (one row an item as it is done), packages.json
    and, last, summary.json. Called again, it keeps rows that are ok and of the same audio and
    text, and scores the rest, failed ones included: the summary of a run that was killed and
    resumed equals that of one that was not, byte for byte.

    Args:
        pairs: Utterances, each id once.
        metrics: Metrics, each id once.
        folder: Where results go; made when missing.
        num_workers: Processes beside this one; 0 scores in this one.
        show_progress: Bars on standard error.
        seed: Seed of the intervals.

    Returns:
        The summary, see `summarize`.

    Raises:
        ValueError: Before any audio is scored: no pairs, an id twice, a metric that cannot run.
    """
    ids = [pair.id for pair in pairs]
    if not ids or len(set(ids)) != len(ids):
        twice = sorted({name for name in ids if ids.count(name) > 1})
        raise ValueError(f"expected at least one pair and every id once, got {len(ids)}, {twice}")
    if num_workers < 0:
        raise ValueError(f"expected num_workers of at least 0, got {num_workers}")
    require_ready(metrics)
    folder = Path(folder)
    keys = {pair.id: pair.key for pair in pairs}
    items = [{"id": p.id, "key": keys[p.id], "text": p.text, "speaker": p.speaker} for p in pairs]
    lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in items]
    write_whole(folder / "items.jsonl", "".join(lines))
    packages = {metric.info.id: installed_packages(metric) for metric in metrics}
    write_whole(folder / "packages.json", json_text(packages))
    rows = {}
    for metric in metrics:
        path = folder / "scores" / f"{metric.info.id}.jsonl"
        rows[metric.info.id] = _score_metric(
            metric, pairs, keys, path, num_workers=num_workers, show_progress=show_progress
        )
    summary = summarize([metric.info for metric in metrics], rows, ids, seed=seed)
    write_whole(folder / "summary.json", json_text(summary))
    return summary


def _score_metric(
    metric: Metric,
    pairs: Sequence[Pair],
    keys: dict[str, str],
    path: Path,
    *,
    num_workers: int,
    show_progress: bool,
) -> dict[str, Row]:
    """Rows of one metric by item id, those already in the file and those scored now."""
    rows = current_rows(path, keys)
    pending = [pair for pair in pairs if rows.get(pair.id, {}).get("status") != "ok"]
    if not pending:
        return rows
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_torn_line(path)
    bar = tqdm(
        desc=metric.info.id,
        total=len(pairs),
        initial=len(pairs) - len(pending),
        disable=not show_progress,
        unit="clip",
    )
    with path.open("a", encoding="utf-8") as stream, bar:
        for row in _scored(metric, pending, min(num_workers, len(pending))):
            row["key"] = keys[row["id"]]
            # A whole line at once, flushed: a kill leaves at most one torn line at the end.
            stream.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            stream.flush()
            rows[row["id"]] = row
            bar.update()
    return rows


def current_rows(path: Path, keys: dict[str, str]) -> dict[str, Row]:
    """Last row of each item in a score file that was made of the item's present content."""
    rows = {row["id"]: row for row in read_json_lines(path)}
    return {name: row for name, row in rows.items() if row["key"] == keys.get(name)}


def _scored(metric: Metric, pairs: Sequence[Pair], num_workers: int) -> Iterator[Row]:
    """Rows of pairs, in their order."""
    if num_workers == 0:
        metric.prepare()
        for pair in pairs:
            yield score_pair(metric, pair)
        return
    # Spawned, not forked: a forked copy of a threaded library can hang.
    with ProcessPoolExecutor(num_workers, get_context("spawn"), _prepare, (metric,)) as pool:
        yield from pool.map(_score_prepared, pairs)


_prepared: list[Metric] = []


def _prepare(metric: Metric) -> None:
    """Starts a worker process: its one metric, loaded."""
    metric.prepare()
    _prepared[:] = [metric]


def _score_prepared(pair: Pair) -> Row:
    """Scores a pair in a worker process."""
    return score_pair(_prepared[0], pair)


def score_pair(metric: Metric, pair: Pair) -> Row:
    """Row of one pair: status "ok" with values, or "failed" with the reason and no value."""
    start = time.perf_counter()
    row: Row = {"id": pair.id, "status": "ok", "values": {}, "reason": None, "details": {}}
    try:
        score = metric.score(load_item(pair, metric.info.needs))
        broken = [k for k, v in score.values.items() if v is not None and not math.isfinite(v)]
        if broken:
            raise MetricError(f"not a finite number: {', '.join(broken)}")
        row.update(values=_rounded(score.values), details=score.details)
    except (ValueError, ArithmeticError, RuntimeError, OSError) as error:
        row.update(status="failed", reason=str(error) or type(error).__name__)
    row["seconds"] = round(time.perf_counter() - start, 4)
    return row


def _rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    """Values to 9 significant digits.

    Sums over threads differ in the last bits from run to run; a resumed run must not show it.
    """
    return {
        name: float(f"{value:.9g}") if isinstance(value, float) else value
        for name, value in values.items()
    }


def load_item(pair: Pair, needs: frozenset[Need]) -> Item:
    """Reads the parts a metric needs; where rates differ, the lower goes to the higher.

    Raises:
        MetricError: A part is missing or cannot be read.
    """
    sounds: dict[str, Sound] = {}
    for part, source in (("reference", pair.reference), ("estimate", pair.estimate)):
        if part in needs:
            if source is None:
                raise MetricError(f"the item has no {part}")
            sounds[part] = load_sound(source)
    rate = max((sound.sample_rate for sound in sounds.values()), default=0)
    waveforms = {
        part: resampled(sound.waveform, sound.sample_rate, rate) for part, sound in sounds.items()
    }
    return Item(pair.id, waveforms.get("reference"), waveforms.get("estimate"), rate, pair.text)
