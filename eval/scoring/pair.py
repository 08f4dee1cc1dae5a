"""Pairs of waveforms to score: parts read for a metric, rows of values or of a failure."""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import dataclass
from typing import Any

from eval.protocols import Item, Metric, MetricError, Need
from eval.sound import AudioSource, Sound, load_sound, resampled, sound_digest

Row = dict[str, Any]


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
    row: Row = {"id": pair.id, "status": "ok", "values": {}, "reason": None, "details": {}}
    try:
        needs = metric.info.needs
        loaded = {} if loaded is None else loaded
        if needs not in loaded:
            loaded[needs] = load_item(pair, needs)
        score = metric.score(loaded[needs])
        broken = [k for k, v in score.values.items() if v is not None and not math.isfinite(v)]
        if broken:
            raise MetricError(f"not a finite number: {', '.join(broken)}")
        # Sums over threads differ in the last bits from run to run; a resumed run must not.
        values = {
            name: float(f"{value:.9g}") if isinstance(value, float) else value
            for name, value in score.values.items()
        }
        row.update(values=values, details=score.details)
        if score.stored:
            row["stored"] = score.stored
    except (ValueError, ArithmeticError, RuntimeError, OSError) as error:
        row.update(status="failed", reason=str(error) or type(error).__name__)
    row["seconds"] = round(time.perf_counter() - start, 4)
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
