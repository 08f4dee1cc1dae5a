"""Resumable scoring of pairs of waveforms by metrics, one append-only file a metric.

Metrics without a large model share one pass over the items, so that what they have in common is
computed once; each large one has a pass of its own, so that no two are in memory together.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from codec.checks import at_least
from codec.files import write_json, write_text
from codec.files.json_lines import appending, read_json_lines
from codec.runtime.run_lock import locked
from codec.runtime.workers import Workers
from eval.metrics.readiness import require_ready, used_packages, used_weights
from eval.protocols import BatchMetric, Item, Metric, Need, RecordMetric
from eval.sound import sound_digest

from .pair import Pair, Row, score_pair, score_together
from .score_folder import LOCK, require_own
from .summary import summarize


def score_pairs(
    pairs: Sequence[Pair],
    metrics: Sequence[Metric],
    folder: Path | str,
    *,
    num_workers: int = 0,
    show_progress: bool = True,
    seed: int = 0,
    record: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Score every pair by every metric and summarise.

    Writes run.json (settings, versions and digests), items.jsonl, scores/<metric id>.jsonl (one row
    an item as it is done) and, last, summary.json. Called again, it keeps rows that are ok and of
    the same audio and text, and scores the rest, failed ones included: the summary of a run that
    was killed and resumed equals that of an uninterrupted one, byte for byte. While it works the
    folder holds no summary.json.

    Args:
        pairs: Utterances, each id once.
        metrics: Metrics, each id once.
        folder: Of the results; made when missing.
        num_workers: Processes beside this one, a thread each; 0 scores in this one.
        show_progress: Bars on standard error.
        seed: Seed of the intervals.
        record: Further settings for run.json, such as the codec's fingerprint; JSON values.

    Returns:
        The summary, see `summarize`.

    Raises:
        ValueError: Before any audio is scored: no pairs, an id twice, a metric that cannot run, a
            folder that another process scores in, or with files of these names by another program.
        WorkerDied: A worker process died twice on the same item.
    """
    ids = [pair.id for pair in pairs]
    if not ids or len(set(ids)) != len(ids):
        twice = sorted(name for name, count in Counter(ids).items() if count > 1)[:8]
        raise ValueError(f"expected at least one pair and every id once, got {len(ids)}, {twice}")
    at_least("num_workers", num_workers, 0)
    require_ready(metrics)
    folder = Path(folder)
    require_own(folder)
    # Two at once would leave the items of one beside the summary of the other.
    with locked(folder, LOCK):
        return _score_all(
            pairs,
            metrics,
            folder,
            num_workers=num_workers,
            show_progress=show_progress,
            seed=seed,
            record=record or {},
        )


def _score_all(
    pairs: Sequence[Pair],
    metrics: Sequence[Metric],
    folder: Path,
    *,
    num_workers: int,
    show_progress: bool,
    seed: int,
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """Score pairs in a folder that is locked, as `score_pairs`."""
    ids = [pair.id for pair in pairs]
    keys = {pair.id: pair.key for pair in pairs}
    items = [
        {
            "id": pair.id,
            "key": keys[pair.id],
            "reference": sound_digest(pair.reference),
            "text": pair.text,
            "speaker": pair.speaker,
        }
        | ({} if pair.prompt is None else {"prompt": sound_digest(pair.prompt)})
        for pair in pairs
    ]
    lines = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
    # A summary of other items must not lie beside these while they are scored.
    (folder / "summary.json").unlink(missing_ok=True)
    write_text(folder / "items.jsonl", lines)
    write_json(folder / "run.json", _run_record(metrics, lines, seed, record))
    rows: dict[str, dict[str, Row]] = {}
    for group in passes(metrics):
        rows |= _score_group(
            group, pairs, keys, folder, num_workers=num_workers, show_progress=show_progress
        )
    speakers = {pair.id: pair.speaker for pair in pairs}
    summary = summarize(metrics, rows, ids, seed=seed, speakers=speakers)
    write_json(folder / "summary.json", summary)
    return summary


def _run_record(
    metrics: Sequence[Metric], manifest: str, seed: int, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Call, settings, versions and digests behind the figures; nothing of the machine."""
    return {
        "argv": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "settings": dict(record),
        "seed": seed,
        "manifest_sha256": hashlib.sha256(manifest.encode()).hexdigest(),
        "packages": used_packages(metrics),
        "weights": {m.info.id: used_weights(m) for m in metrics if m.info.weights},
        "metrics": {metric.info.id: metric.info.definition for metric in metrics},
    }


def passes(metrics: Sequence[Metric]) -> list[list[Metric]]:
    """Group metrics that share a pass over the items: the small ones, then each large one alone."""
    small = [metric for metric in metrics if not metric.info.is_large]
    large = [[metric] for metric in metrics if metric.info.is_large]
    return [small, *large] if small else large


def _score_group(
    metrics: Sequence[Metric],
    pairs: Sequence[Pair],
    keys: dict[str, str],
    folder: Path,
    *,
    num_workers: int,
    show_progress: bool,
) -> dict[str, dict[str, Row]]:
    """Rows by metric id and item id, those already in the files and those scored now."""
    by_id = {metric.info.id: metric for metric in metrics}
    paths = {name: folder / "scores" / f"{name}.jsonl" for name in by_id}
    own = {name: row_keys(metric, keys) for name, metric in by_id.items()}
    rows = {name: current_rows(paths[name], own[name], by_id[name]) for name in by_id}
    # A task is a pair with the metrics that have no good row of it yet.
    tasks = [
        (pair, [name for name in by_id if rows[name].get(pair.id, {}).get("status") != "ok"])
        for pair in pairs
    ]
    tasks = [(pair, pending) for pair, pending in tasks if pending]
    if not tasks:
        return rows
    # A metric whose rows are all there is not even loaded.
    missing = {name for _, pending in tasks for name in pending}
    needed = [metric for name, metric in by_id.items() if name in missing]
    with ExitStack() as stack:
        append = {
            metric.info.id: stack.enter_context(appending(paths[metric.info.id]))
            for metric in needed
        }
        label = ", ".join(metric.info.id.split(".")[0] for metric in needed)
        bar = stack.enter_context(
            tqdm(desc=label, total=len(tasks), disable=not show_progress, unit="clip")
        )
        for scored in scored_rows(needed, tasks, min(num_workers, len(tasks))):
            for name, row in scored.items():
                row["key"] = own[name][row["id"]]
                append[name](row)
                rows[name][row["id"]] = row
            bar.update()
    return rows


def require_parts(pairs: Sequence[Pair], metrics: Sequence[Metric]) -> None:
    """Refuse metrics of a part that no pair has, before any audio is read.

    Raises:
        ValueError: Every item would fail, such as a WER without a single text.
    """
    for metric in metrics:
        # Parts in one order, so that a message is the same every time.
        for part in ("text", "prompt", "reference", "estimate"):
            given = sum(bool(getattr(pair, part)) for pair in pairs)
            if part in metric.info.needs and not given:
                name = metric.info.id.split(".")[0]
                raise ValueError(
                    f"expected items with a {part} for {name}, got {len(pairs)} items without: "
                    f"give them one, or leave {name} out of --metrics"
                )


def row_keys(metric: Metric, keys: dict[str, str]) -> dict[str, str]:
    """Keys of a metric's rows by item: the item's key and, after a dot, a hash of what else counts.

    That is the record a `RecordMetric` reads, or the weights. Weights of one known digest are part
    of the metric's id and leave the key as it is; any other model under the same id gives other
    scores, which must not be taken for those of this one.
    """
    if isinstance(metric, RecordMetric):
        records = {name: metric.record_digest(name) for name in keys}
        return {name: f"{key}.{records[name]}".rstrip(".") for name, key in keys.items()}
    free = [spec.name for spec in metric.info.weights if spec.sha256 is None]
    if not free:
        return keys
    used = used_weights(metric)
    digest = hashlib.sha256("\n".join(f"{name} {used[name]}" for name in free).encode())
    return {name: f"{key}.{digest.hexdigest()[:8]}" for name, key in keys.items()}


def current_rows(path: Path, keys: dict[str, str], metric: Metric) -> dict[str, Row]:
    """Read the last row of each item that was made of the item's present content.

    A good row without a figure the metric gives today is of an earlier release and is not current.
    """
    figures = {figure.name for figure in metric.info.figures}
    # Later rows of an item replace earlier ones.
    found = read_json_lines(path, torn="drop", missing_ok=True)
    rows = {row["id"]: row for row in found}
    return {
        name: row
        for name, row in rows.items()
        if row["key"] == keys.get(name)
        and (row["status"] != "ok" or figures <= row["values"].keys())
    }


Task = tuple[Pair, list[str]]


def scored_rows(
    metrics: Sequence[Metric], tasks: Sequence[Task], num_workers: int
) -> Iterator[dict[str, Row]]:
    """Score tasks by the metrics of one pass, yielding the rows of each by metric id, in order."""
    # Workers share the cores, so each gets one thread.
    threads = 1 if num_workers else None
    with Workers(
        num_workers,
        setup=_prepare,
        setup_args=[metrics],
        teardown=_prepared.clear,
        threads=threads,
    ) as pool:
        for rows in pool.map(_score_prepared, _batches(metrics, tasks, num_workers)):
            yield from rows


def _batches(
    metrics: Sequence[Metric], tasks: Sequence[Task], num_workers: int
) -> list[list[Task]]:
    """Tasks that are scored at once: several where a metric alone in its pass is faster so."""
    only = metrics[0] if len(metrics) == 1 else None
    size = only.batch_size if isinstance(only, BatchMetric) else 1
    # Every worker gets some.
    size = max(1, min(size, -(-len(tasks) // max(1, num_workers))))
    return [list(tasks[start : start + size]) for start in range(0, len(tasks), size)]


_prepared: dict[str, Metric] = {}


def _prepare(metrics: Sequence[Metric]) -> None:
    """Load the metrics of a pass in this process, in place of those of the pass before."""
    _prepared.clear()
    for metric in metrics:
        metric.prepare()
        _prepared[metric.info.id] = metric


def _score_prepared(batch: Sequence[Task]) -> list[dict[str, Row]]:
    """Score pairs by those of the loaded metrics they lack."""
    if len(batch) > 1:
        ((name, metric),) = _prepared.items()
        assert isinstance(metric, BatchMetric)
        return [{name: row} for row in score_together(metric, [pair for pair, _ in batch])]
    ((pair, pending),) = batch
    loaded: dict[frozenset[Need], Item] = {}
    return [{name: score_pair(_prepared[name], pair, loaded) for name in pending}]
