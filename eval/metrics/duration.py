"""Duration metrics of generated speech: length, silence, runaways and loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from eval.protocols import FigureInfo, Item, Metric, MetricInfo, Score
from eval.sound import checked_part

from .lag import shared
from .repetition import looped_audio, looped_codes, runs

# Speech at a slow 12 characters a second, spaces counted, and half a second around it.
CHARACTERS_PER_SECOND = 12.0
MARGIN_SECONDS = 0.5
RUNAWAY_FACTOR = 2.5
FRAME_SECONDS = 0.02
SILENCE_DB = 40.0
SILENCE_FLOOR_DB = -60.0
SHORTEST_SECONDS = 0.1


@dataclass(frozen=True, eq=False)
class GenerationRecord:
    """Record of a generator for one utterance; None where something was not recorded."""

    truncated: bool | None = None  # cut at the longest allowed instead of ending by itself
    codes: np.ndarray | None = None  # (L,) or (K, L) integers generated
    frame_rate: float = 0.0  # frames of codes a second; 0 without codes


def silent_frames(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mark the silent frames of 20 ms of a waveform (T,), (L,) bool.

    Silent is 40 dB below the loud ones (95th percentile of the level), or below -60 dB.
    """
    size = max(1, round(FRAME_SECONDS * sample_rate))
    frames = np.asarray(waveform, dtype=np.float64)[: len(waveform) // size * size]
    power = (frames.reshape(-1, size) ** 2).mean(axis=1)
    level = 10.0 * np.log10(np.maximum(power, 1e-12))
    if not level.size:  # shorter than a frame
        return np.zeros(0, dtype=bool)
    return level < max(float(np.quantile(level, 0.95)) - SILENCE_DB, SILENCE_FLOOR_DB)


@dataclass(frozen=True, eq=False)
class DeliveryMetric(Metric):
    """Silence, runaway and repetition of generated speech.

    Args:
        records: Records of the generator, by item id. Without one a runaway is found by its
            length and a loop by its log-mels, under another id.
    """

    records: Mapping[str, GenerationRecord] = field(default_factory=dict)

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id=f"delivery.{'record' if self.records else 'audio'}1",
            definition="silence_share: frames of 20 ms more than 40 dB under the loud ones; "
            "pause: the longest run of them in s; runaway: cut at its longest by the generator's "
            f"record where there is one, else longer than {RUNAWAY_FACTOR} times "
            f"{MARGIN_SECONDS} s + characters / {CHARACTERS_PER_SECOND:g}; repeated: a stretch of "
            "at most 2 s said 3 times in succession or more, for 1 s or more (codes of the record, "
            "else correlation of log-mels above 0.93); looped_share: time within such loops",
            needs=frozenset({"estimate"}),
            figures=(
                FigureInfo("silence_share", "%"),
                FigureInfo("pause", "s"),
                FigureInfo("runaway", "%", False),
                FigureInfo("repeated", "%", False),
                FigureInfo("looped_share", "%", False),
            ),
        )

    def score(self, item: Item) -> Score:
        """The shares (0 to 1), 1.0 or 0.0 for runaway and repeated; see `Metric`.

        `runaway` is None where there is neither a record nor a text.
        """
        samples = checked_part(item, "estimate", min_duration=SHORTEST_SECONDS)
        record = self.records.get(item.id, GenerationRecord())
        silent = silent_frames(samples, item.sample_rate)
        # Codes repeat exactly; audio only nearly, and takes longer to compare.
        if record.codes is not None:
            loops = looped_codes(record.codes, record.frame_rate)
        else:
            loops = shared(item, "loops", lambda: looped_audio(samples, item.sample_rate))
        seconds = samples.size / item.sample_rate
        runaway = None if record.truncated is None else float(record.truncated)
        if runaway is None and item.text.strip():
            characters = len(" ".join(item.text.split()))
            expected = MARGIN_SECONDS + characters / CHARACTERS_PER_SECOND
            runaway = float(seconds > RUNAWAY_FACTOR * expected)
        return Score(
            {
                "silence_share": float(silent.mean()),
                "pause": max((end - start for start, end in runs(silent)), default=0)
                * FRAME_SECONDS,
                "runaway": runaway,
                "repeated": float(loops.any()),
                "looped_share": float(loops.mean()) if loops.size else 0.0,
                "num_seconds": seconds,
            }
        )


@dataclass(frozen=True)
class DurationMetric(Metric):
    """Length of generated speech beside that of a recording of the same text."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="duration.v1",
            definition="duration_ratio: length of the estimate over that of the reference, from "
            "the first to the last frame that is not silent in each; total_ratio: whole lengths",
            needs=frozenset({"reference", "estimate"}),
            figures=(FigureInfo("duration_ratio"), FigureInfo("total_ratio")),
        )

    def score(self, item: Item) -> Score:
        """Both ratios; see `Metric`."""
        lengths, wholes = [], []
        for part in ("estimate", "reference"):
            samples = checked_part(item, part, min_duration=SHORTEST_SECONDS)
            loud = np.flatnonzero(~silent_frames(samples, item.sample_rate))
            lengths.append(float(loud[-1] - loud[0] + 1))
            wholes.append(float(samples.size))
        return Score(
            {
                "duration_ratio": lengths[0] / lengths[1],
                "total_ratio": wholes[0] / wholes[1],
            }
        )
