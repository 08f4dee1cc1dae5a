"""Prosody: distances of pitch and level distributions of a continuation to the recording's."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from eval.protocols import FigureInfo, Item, Metric, MetricError, MetricInfo, Score
from eval.sound import checked_part, resampled

from .duration import FRAME_SECONDS, silent_frames
from .pitch import RATE, track_pitch


@dataclass(frozen=True, eq=False)
class ProsodyStatistics:
    """Pitch and energy of speech as distributions, without order in time."""

    semitones: np.ndarray  # (N,) pitch of voiced frames above 55 Hz
    levels: np.ndarray  # (M,) level of frames of 20 ms that are not silent, dB


def prosody(waveform: np.ndarray, sample_rate: int) -> ProsodyStatistics:
    """Compute the statistics of a waveform (T,).

    Raises:
        MetricError: No frame is voiced, or every one is silent.
    """
    signal = resampled(np.asarray(waveform, dtype=np.float64), sample_rate, RATE)
    f0, voiced = track_pitch(signal, RATE)
    if not voiced.any():
        raise MetricError("no frame is voiced")
    # Energy is that of frames which are not silent: pauses are a matter of duration.
    size = round(FRAME_SECONDS * RATE)
    frames = signal[: signal.size // size * size].reshape(-1, size)
    power = (frames**2).mean(axis=1)[~silent_frames(signal, RATE)]
    if not power.size:
        raise MetricError("every frame is silent")
    return ProsodyStatistics(
        12.0 * np.log2(f0[voiced] / 55.0), 10.0 * np.log10(np.maximum(power, 1e-12))
    )


def distribution_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Compute the Wasserstein-1 distance of two samples (N,) and (M,), in their unit."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(first, second))


@dataclass(frozen=True)
class ProsodyMetric(Metric):
    """Distances of pitch and energy distributions to those of the recording."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="prosody.swift03",
            definition="pitch of swift-f0 (voiced frames, semitones) and level (frames of 20 ms "
            "that are not silent, dB) of the estimate against the reference, as distributions: "
            "Wasserstein-1 distances, of the level after removing the mean; differences of the "
            "median pitch and of the spreads (standard deviations), estimate minus reference",
            needs=frozenset({"reference", "estimate"}),
            figures=(
                FigureInfo("pitch_distance", "semitones", False),
                FigureInfo("energy_distance", "dB", False),
                FigureInfo("pitch_shift", "semitones"),
                FigureInfo("pitch_spread_change", "semitones"),
                FigureInfo("energy_spread_change", "dB"),
            ),
            sample_rate=RATE,
            packages=(("swift-f0", "0.3."),),
        )

    def prepare(self) -> None:
        """Import the tracker, so that a broken installation shows before any item is read."""
        import_module("swift_f0")

    def score(self, item: Item) -> Score:
        """The distances and differences; see `Metric`."""
        ours = prosody(checked_part(item, "estimate"), item.sample_rate)
        theirs = prosody(checked_part(item, "reference"), item.sample_rate)
        return Score(
            {
                "pitch_distance": distribution_distance(ours.semitones, theirs.semitones),
                # Loudness as such is a matter of gain, not of prosody.
                "energy_distance": distribution_distance(
                    ours.levels - ours.levels.mean(), theirs.levels - theirs.levels.mean()
                ),
                "pitch_shift": float(np.median(ours.semitones) - np.median(theirs.semitones)),
                "pitch_spread_change": float(ours.semitones.std() - theirs.semitones.std()),
                "energy_spread_change": float(ours.levels.std() - theirs.levels.std()),
            }
        )
