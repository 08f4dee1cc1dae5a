"""How far the melody and the loudness of a continuation lie from those of the true one."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from eval.protocols import FigureInfo, Item, MetricError, MetricInfo, Score
from eval.sound import checked, resampled

from .duration import FRAME_SECONDS, silent_frames
from .pitch import RATE, track_pitch


@dataclass(frozen=True, eq=False)
class ProsodyStatistics:
    """Pitch and energy of speech, as distributions that know no order.

    Args:
        semitones: (N,) pitch of voiced frames, semitones above 55 Hz.
        levels: (M,) level of frames of 20 ms that are not silent, dB.
    """

    semitones: np.ndarray
    levels: np.ndarray


def prosody(waveform: np.ndarray, sample_rate: int) -> ProsodyStatistics:
    """Statistics of a waveform (T,).

    Raises:
        MetricError: No frame is voiced.
    """
    signal = resampled(np.asarray(waveform, dtype=np.float64), sample_rate, RATE)
    f0, voiced = track_pitch(signal, RATE)
    if not voiced.any():
        raise MetricError("no frame is voiced")
    size = round(FRAME_SECONDS * RATE)
    frames = signal[: signal.size // size * size].reshape(-1, size)
    power = (frames**2).mean(axis=1)[~silent_frames(signal, RATE)]
    return ProsodyStatistics(
        12.0 * np.log2(f0[voiced] / 55.0), 10.0 * np.log10(np.maximum(power, 1e-12))
    )


def distribution_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples (N,) and (M,), in their unit; 0 for equals."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(first, second))


@dataclass(frozen=True)
class ProsodyMetric:
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
        """Imports the tracker, so that a broken installation shows before any item is read."""
        import_module("swift_f0")

    def score(self, item: Item) -> Score:
        """The distances and differences; see `Metric`."""
        sides = []
        for what, waveform in (("estimate", item.estimate), ("reference", item.reference)):
            if waveform is None:
                raise MetricError(f"expected a waveform as {what}, got none")
            sides.append(prosody(checked(waveform, item.sample_rate, what), item.sample_rate))
        ours, theirs = sides
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
