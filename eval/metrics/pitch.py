"""Voicing and fundamental frequency of a copy against its recording, tracked by swift-f0."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from eval.protocols import FigureInfo, Item, MetricError, MetricInfo, Score

from .lag import aligned_pair, common_part

RATE = 16000
# Speech lies below 600 Hz; the tracker itself goes to 2 kHz, where only errors are left.
LOWEST_HZ, HIGHEST_HZ = 50.0, 600.0
VOICED_CONFIDENCE = 0.5
# A pitch off by more than 20 % is the wrong pitch (usually an octave), not an inexact one.
GROSS_CENTS = 1200.0 * float(np.log2(1.2))


@lru_cache(maxsize=1)
def _tracker() -> Any:
    """The detector, built once in a process; one thread, as workers share the machine."""
    return import_module("swift_f0").SwiftF0(threads=1, spin=False)


def track_pitch(waveform: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Pitch of a waveform (T,) in frames of 16 ms.

    Returns:
        F0 in Hz (L,) float64 and voicing (L,) bool, L = T16k // 256 with T16k the samples at
        16 kHz; where a frame is unvoiced, its F0 means nothing.
    """
    samples = np.asarray(waveform, dtype=np.float32)
    result = _tracker().detect(samples, sample_rate, LOWEST_HZ, HIGHEST_HZ)
    return result.pitch_hz, result.confidence >= VOICED_CONFIDENCE


@dataclass(frozen=True)
class PitchAgreement:
    """Agreement of two pitch tracks.

    Args:
        vuv_f1: F1 of the voiced decision, the reference being the truth; higher is better.
        f0_cents: Root mean square F0 difference in cents over frames that both tracks hold for
            voiced and that are no gross error; None without such a frame.
        gross_error_rate: Share of the frames voiced in both whose F0 is off by more than 20 %;
            None without such a frame.
        num_both_voiced: Frames voiced in both.
    """

    vuv_f1: float
    f0_cents: float | None
    gross_error_rate: float | None
    num_both_voiced: int


def compare_tracks(
    reference: tuple[np.ndarray, np.ndarray], estimate: tuple[np.ndarray, np.ndarray]
) -> PitchAgreement:
    """Compares two (F0 in Hz, voicing) tracks, cut to the shorter.

    Raises:
        MetricError: No frame of the reference is voiced, so F1 is undefined.
    """
    (f0, voiced), (f0_hat, voiced_hat) = reference, estimate
    f0, f0_hat = common_part(f0, f0_hat)
    voiced, voiced_hat = common_part(voiced, voiced_hat)
    if not voiced.any():
        raise MetricError("no frame of the reference is voiced")
    both = voiced & voiced_hat
    hits = int(both.sum())
    f1 = 2.0 * hits / float(voiced.sum() + voiced_hat.sum())
    if hits == 0:
        return PitchAgreement(f1, None, None, 0)
    cents = 1200.0 * np.log2(f0_hat[both] / f0[both])
    fine = np.abs(cents) <= GROSS_CENTS
    rms = float(np.sqrt(np.mean(cents[fine] ** 2))) if fine.any() else None
    return PitchAgreement(f1, rms, float(1.0 - fine.mean()), hits)


def vuv_f1(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> PitchAgreement:
    """V/UV F1, F0 error and gross errors of two waveforms (T,), no lag removed.

    Raises:
        MetricError: No frame of the reference is voiced.
    """
    return compare_tracks(track_pitch(reference, sample_rate), track_pitch(estimate, sample_rate))


@dataclass(frozen=True)
class PitchMetric:
    """V/UV F1, F0 error in cents and gross error rate, after removing the lag."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="pitch.swift03",
            definition="swift-f0 at 16 kHz, 16 ms frames, 50-600 Hz, voiced at confidence >= 0.5, "
            "after removing the estimated lag (whole ms): V/UV F1; RMS cents over frames voiced "
            "in both without gross errors; share of those frames off by more than 20 %",
            needs=frozenset({"reference", "estimate"}),
            figures=(
                FigureInfo("vuv_f1", higher_is_better=True),
                FigureInfo("f0_cents", "cents", higher_is_better=False),
                FigureInfo("gross_error_rate", "%", higher_is_better=False),
            ),
            sample_rate=RATE,
            packages=(("swift-f0", "0.3."),),
        )

    def prepare(self) -> None:
        """Builds the tracker."""
        _tracker()

    def score(self, item: Item) -> Score:
        """The three figures, frames voiced in both, and the lag; see `Metric`."""
        pair = aligned_pair(item, RATE)
        agreement = vuv_f1(*pair.aligned, RATE)
        values: dict[str, float | None] = {
            "vuv_f1": agreement.vuv_f1,
            "f0_cents": agreement.f0_cents,
            "gross_error_rate": agreement.gross_error_rate,
            "num_both_voiced": float(agreement.num_both_voiced),
            "lag_ms": float(pair.lag_ms),
        }
        return Score(values)
