"""Speed of metrics: each by itself, and all together over worker processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.protocols import Metric
from eval.sound import Sound, load_sound

from .pair import Pair, score_pair
from .score import passes, scored_rows

RATE = 24000


@dataclass(frozen=True)
class MetricSpeed:
    """Cost of one metric alone, in one process."""

    id: str
    load_seconds: float  # wall time of `prepare`
    cpu_seconds_per_10s: float  # processor time for 10 s of audio, reading and aligning included
    x_real_time: float  # seconds of audio for a second of one core
    n_failed: int  # clips that could not be scored


@dataclass(frozen=True)
class SetSpeed:
    """Cost of metrics together, shared work done once."""

    num_workers: int  # processes, a thread each; 0 for this process
    audio_seconds: float  # length of the recordings
    wall_seconds: float  # from the start of the processes, which takes seconds, to the last row
    x_real_time: float  # audio_seconds / wall_seconds
    # Processor time for 10 s of audio in one process that has loaded all.
    cpu_seconds_per_10s: float
    # Seconds of audio a second where every process has a core to itself: the speed on a large
    # corpus on an idle machine.
    x_real_time_cpu: float


def synthetic_pairs(seconds: float, *, clip_seconds: float = 5.0, seed: int = 0) -> list[Pair]:
    """Make pairs of voiced sounds with pauses and noisy copies, for timing only."""
    rng = np.random.default_rng(seed)
    pairs = []
    for number in range(max(1, round(seconds / clip_seconds))):
        # Nineteen harmonics of a gliding pitch under an envelope that pauses three times in 2 s.
        t = np.arange(round(clip_seconds * RATE)) / RATE
        pitch = rng.uniform(90.0, 220.0) * (1.0 + 0.2 * np.sin(2 * np.pi * t))
        phase = 2.0 * np.pi * np.cumsum(pitch) / RATE
        voice = sum(np.sin(k * phase) / k for k in range(1, 20))
        loudness = np.clip(np.sin(2.0 * np.pi * 1.5 * t) + 0.5, 0.0, 1.0)
        clip = (0.1 * voice * loudness).astype(np.float32)
        noisy = clip + 0.01 * rng.standard_normal(clip.size).astype(np.float32)
        name, speaker = f"clip{number:03d}", f"speaker{number % 5}"
        sounds = Sound(clip, RATE), Sound(noisy, RATE)
        pairs.append(Pair(name, *sounds, "one two three", speaker, sounds[0]))
    return pairs


def audio_seconds(pairs: Sequence[Pair]) -> float:
    """Sum the lengths of the references, or of the estimates where there are none."""
    sounds = [load_sound(pair.reference or pair.estimate or "") for pair in pairs]
    return sum(sound.waveform.size / sound.sample_rate for sound in sounds)


def measure_metric(metric: Metric, pairs: Sequence[Pair]) -> MetricSpeed:
    """Measure one metric in this process, after one clip that is not counted."""
    start = time.perf_counter()
    metric.prepare()
    loaded = time.perf_counter() - start
    score_pair(metric, pairs[0])
    # Processor time, not wall time: other processes may share the cores.
    before = time.process_time()
    rows = [score_pair(metric, pair) for pair in pairs]
    spent = max(time.process_time() - before, 1e-9)
    seconds = audio_seconds(pairs)
    failed = sum(row["status"] != "ok" for row in rows)
    return MetricSpeed(
        metric.info.id,
        round(loaded, 3),
        round(10.0 * spent / seconds, 4),
        round(seconds / spent, 1),
        failed,
    )


def measure_set(metrics: Sequence[Metric], pairs: Sequence[Pair], num_workers: int) -> SetSpeed:
    """Measure metrics together, as `score_pairs` runs them."""
    seconds, start = audio_seconds(pairs), time.perf_counter()
    _score_all(metrics, pairs, num_workers)
    wall = time.perf_counter() - start
    # Once more in this process, whose processor time can be read, after a pair to warm up.
    _score_all(metrics, pairs[:1], 0)
    before = time.process_time()
    _score_all(metrics, pairs, 0)
    spent = max(time.process_time() - before, 1e-9)
    return SetSpeed(
        num_workers,
        round(seconds, 2),
        round(wall, 3),
        round(seconds / wall, 1),
        round(10.0 * spent / seconds, 4),
        round(seconds * max(num_workers, 1) / spent, 1),
    )


def _score_all(metrics: Sequence[Metric], pairs: Sequence[Pair], num_workers: int) -> None:
    """Score every pair and drop the rows."""
    for group in passes(metrics):
        ids = [metric.info.id for metric in group]
        for _ in scored_rows(group, [(pair, ids) for pair in pairs], num_workers):
            pass
