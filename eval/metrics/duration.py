"""Duration metrics of generated speech: length, silence, runaways and loops."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from codec.files.names import composed
from eval.protocols import FigureInfo, Item, Metric, MetricError, MetricInfo, Score
from eval.sound import checked_part, resampled

from .lag import shared
from .mel import log_mel

# Speech at a slow 12 characters a second, spaces counted, and half a second around it.
CHARACTERS_PER_SECOND = 12.0
MARGIN_SECONDS = 0.5
RUNAWAY_FACTOR = 2.5
FRAME_SECONDS = 0.02
SILENCE_DB = 40.0
SILENCE_FLOOR_DB = -60.0
SHORTEST_SECONDS = 0.1

# A stretch counts as a loop when it is there at least that often, one after the other ...
REPEATS = 3
# ... for at least that long in all.
LOOP_SECONDS = 1.0
LONGEST_PERIOD_SECONDS = 2.0

RATE, HOP = 16000, 320
# In audio, shorter periods are those of a held vowel.
SHORTEST_PERIOD_SECONDS = 0.14
ALIKE = 0.93


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
        records: Records of the generator, by item id with composed accents. Without one a
            runaway is found by its length and a loop by its log-mels, under another id.
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

    def record_digest(self, item_id: str) -> str:
        """Hash the generator's record of an item, 8 hex digits; "" without one."""
        record = self.records.get(composed(item_id))
        if record is None:
            return ""
        codes = b"" if record.codes is None else np.ascontiguousarray(record.codes).tobytes()
        shape = np.shape(record.codes) if record.codes is not None else None
        head = f"{record.truncated} {record.frame_rate} {shape} ".encode()
        return hashlib.sha256(head + codes).hexdigest()[:8]

    def score(self, item: Item) -> Score:
        """The shares (0 to 1), 1.0 or 0.0 for runaway and repeated; see `Metric`.

        `runaway` is None where there is neither a record nor a text.
        """
        samples = checked_part(item, "estimate", min_duration=SHORTEST_SECONDS)
        record = self.records.get(composed(item.id), GenerationRecord())
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
            if not loud.size:
                raise MetricError(
                    f"{part} is silent: no frame of {FRAME_SECONDS:g} s is above "
                    f"{SILENCE_FLOOR_DB:g} dB"
                )
            lengths.append(float(loud[-1] - loud[0] + 1))
            wholes.append(float(samples.size))
        return Score(
            {
                "duration_ratio": lengths[0] / lengths[1],
                "total_ratio": wholes[0] / wholes[1],
            }
        )


def looped_codes(codes: np.ndarray, frame_rate: float) -> np.ndarray:
    """Mark the codes that lie within a loop, (L,) bool.

    A loop is a block of codes, of at most 2 s, that follows on itself so that it is there at least
    3 times and for at least 1 s. One code held for a second is one, too: silence included.

    Args:
        codes: (L,) integers, or (K, L), of which whole frames are compared.
        frame_rate: Frames a second.

    Raises:
        ValueError: Codes of another shape, or a rate that is not positive.
    """
    frames = np.atleast_2d(np.asarray(codes))
    if frames.ndim != 2 or not frame_rate > 0:
        raise ValueError(f"expected codes (L,) or (K, L), got {frames.shape} at {frame_rate} Hz")
    length = frames.shape[1]
    marks = np.zeros(length, dtype=bool)
    for period in range(1, min(round(LONGEST_PERIOD_SECONDS * frame_rate), length // REPEATS) + 1):
        # A run of frames equal to those a period later is a loop, if it covers the repeats.
        same = (frames[:, period:] == frames[:, :-period]).all(axis=0)
        shortest = max((REPEATS - 1) * period, round(LOOP_SECONDS * frame_rate) - period)
        for start, end in runs(same):
            if end - start >= shortest:
                marks[start : end + period] = True
    return marks


def looped_audio(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mark the frames of 20 ms that lie within a loop, (L,) bool, by the likeness of log-mels.

    Frames are alike when the correlation of their 40 log-mel bands is above 0.93. Silence never
    counts, nor does a steady sound: it is alike at every distance, a loop only at its period.
    """
    signal = resampled(np.asarray(waveform, dtype=np.float64), sample_rate, RATE)
    mel = log_mel(signal, RATE, n_fft=1024, hop_length=HOP, n_mels=40, floor=1e-3)  # (M, L)
    shape = mel - mel.mean(axis=0)
    norms = np.linalg.norm(shape, axis=0)
    # A flat spectrum is the floor: silence.
    unit = np.where(norms > 1.0, shape / np.maximum(norms, 1e-9), 0.0)
    rate = RATE / HOP
    length = mel.shape[1]
    marks = np.zeros(length, dtype=bool)
    longest = min(round(LONGEST_PERIOD_SECONDS * rate), length // REPEATS)
    for period in range(round(SHORTEST_PERIOD_SECONDS * rate), longest + 1):
        alike = _likeness(unit, period)
        # One frame of doubt either way, as a period need not be a whole number of frames.
        shortest = max((REPEATS - 1) * period, round(LOOP_SECONDS * rate) - period)
        for start, end in runs(alike > ALIKE):
            # A steady sound is alike at half its period, too.
            steady = _likeness(unit[:, start : end + period], period // 2).mean() > ALIKE
            if end - start >= shortest - 2 and not steady:
                marks[start : end + period] = True
    return marks


def _likeness(unit: np.ndarray, distance: int) -> np.ndarray:
    """Correlation of each frame with the one `distance` later, (L - distance,)."""
    return (unit[:, distance:] * unit[:, :-distance]).sum(axis=0)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """List the stretches [start, end) of True in flags (L,)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
