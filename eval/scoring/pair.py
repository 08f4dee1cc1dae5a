"""Pairs of waveforms to score: parts read for a metric, rows of values or of a failure."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from codec.error_text import message_of
from eval.protocols import BatchMetric, Item, Metric, MetricError, Need, Score
from eval.sound import AudioSource, Sound, load_sound, resampled, sound_digest

Row = dict[str, Any]
# What an item may cause; anything else is a fault of the program.
FAILURES = (ValueError, ArithmeticError, RuntimeError, OSError)
# Of audio in memory that is scored together, a batch of Whisper's windows.
MOST_SECONDS = 240.0


@dataclass(frozen=True, eq=False)
class Pair:
    """One utterance to score."""

    id: str
    # Recording: a file or a `Sound`; None where no metric needs it.
    reference: AudioSource | None = None
    estimate: AudioSource | None = None  # waveform under test, likewise
    text: str = ""  # transcript, "" without one
    # Name of the speaker, kept in items.jsonl; bands of speaker similarity use it.
    speaker: str = ""
    prompt: AudioSource | None = None  # recording of the target voice, likewise

    @property
    def key(self) -> str:
        """Hash of all inputs of a score, 16 hex digits; a row with another key is scored again."""
        parts = [sound_digest(self.reference), sound_digest(self.estimate), self.text]
        if self.prompt is not None:
            parts.append(sound_digest(self.prompt))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def score_pair(
    metric: Metric, pair: Pair, loaded: dict[frozenset[Need], Item] | None = None
) -> Row:
    """Score one pair: a row of status "ok" with values, or "failed" with the reason and no value.

    Args:
        metric: A prepared metric.
        pair: An utterance.
        loaded: Items of the pair that other metrics loaded, by what they need; added to.
    """
    start = time.perf_counter()
    try:
        needs = metric.info.needs
        loaded = {} if loaded is None else loaded
        if needs not in loaded:
            loaded[needs] = load_item(pair, needs)
        row = _row(pair, metric.score(loaded[needs]))
    except FAILURES as error:
        row = _row(pair, error)
    row["seconds"] = round(time.perf_counter() - start, 4)
    return row


def score_together(metric: BatchMetric, pairs: Sequence[Pair]) -> list[Row]:
    """Score pairs by a metric that takes several at once: the rows that `score_pair` gives.

    No more than `MOST_SECONDS` of audio are in memory, but for a longer recording alone.
    """
    rows: dict[str, Row] = {}
    waiting: list[tuple[Pair, Item]] = []
    seconds = 0.0
    for pair in pairs:
        try:
            item = load_item(pair, metric.info.needs)
        except FAILURES as error:
            rows[pair.id] = {**_row(pair, error), "seconds": 0.0}
            continue
        length = _seconds(item)
        if waiting and seconds + length > MOST_SECONDS:
            rows |= _flushed(metric, waiting)
            waiting, seconds = [], 0.0
        waiting.append((pair, item))
        seconds += length
    rows |= _flushed(metric, waiting)
    return [rows[pair.id] for pair in pairs]


def _flushed(metric: BatchMetric, waiting: Sequence[tuple[Pair, Item]]) -> dict[str, Row]:
    """Rows of loaded pairs by id; each has an even share of the time."""
    start = time.perf_counter()
    try:
        found: Sequence[Score | Exception] = metric.score_many([item for _, item in waiting])
    except FAILURES:
        # What one of them causes must not be counted against the others.
        return {
            pair.id: score_pair(metric, pair, {metric.info.needs: item}) for pair, item in waiting
        }
    rows = {pair.id: _row(pair, each) for (pair, _), each in zip(waiting, found, strict=True)}
    for row in rows.values():
        row["seconds"] = round((time.perf_counter() - start) / len(rows), 4)
    return rows


def _seconds(item: Item) -> float:
    """Length of the waveforms of an item together, s."""
    sizes = [each.size for each in (item.reference, item.estimate, item.prompt) if each is not None]
    return sum(sizes) / item.sample_rate if sizes else 0.0


def _row(pair: Pair, found: Score | Exception) -> Row:
    """Row of a score or of a failure, without the time it took."""
    row: Row = {"id": pair.id, "status": "ok", "values": {}, "reason": None, "details": {}}
    if isinstance(found, Score):
        broken = [k for k, v in found.values.items() if v is not None and not math.isfinite(v)]
        if not broken:
            # Sums over threads differ in the last bits from run to run; a resumed run must not.
            values = {
                name: float(f"{value:.9g}") if isinstance(value, float) else value
                for name, value in found.values.items()
            }
            row.update(values=values, details=found.details)
            if found.stored:
                row["stored"] = found.stored
            return row
        found = MetricError(f"not a finite number: {', '.join(broken)}")
    row.update(status="failed", reason=message_of(found))
    return row


def load_item(pair: Pair, needs: frozenset[Need]) -> Item:
    """Read the parts a metric needs; sounds of lower rates are resampled to the highest.

    Raises:
        MetricError: A part is missing or cannot be read.
    """
    sounds: dict[str, Sound] = {}
    for part in ("reference", "estimate", "prompt"):
        if part in needs:
            source = getattr(pair, part)
            if source is None:
                raise MetricError(f"the item has no {part}")
            sounds[part] = load_sound(source)
    rate = max((sound.sample_rate for sound in sounds.values()), default=0)
    waveforms = {
        part: resampled(sound.waveform, sound.sample_rate, rate) for part, sound in sounds.items()
    }
    ours, theirs, prompt = (waveforms.get(part) for part in ("reference", "estimate", "prompt"))
    return Item(pair.id, ours, theirs, rate, pair.text, prompt)
