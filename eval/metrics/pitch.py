"""Voicing and fundamental frequency of a copy against its recording, by swift-f0 or CREPE."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal

import numpy as np

from eval.protocols import FigureInfo, Item, Metric, MetricError, MetricInfo, Score

from .global_random import seeded_globally
from .lag import aligned_pair, common_part

RATE = 16000
# Speech lies below 600 Hz; swift-f0 itself goes to 2 kHz, where only errors are left.
LOWEST_HZ, HIGHEST_HZ = 50.0, 600.0
VOICED_CONFIDENCE = 0.5
# A pitch off by more than 20 % is the wrong pitch (usually an octave), not an inexact one.
GROSS_CENTS = 1200.0 * float(np.log2(1.2))
CREPE_HOP = 160
CREPE_PERIODICITY = 0.21
CREPE_SILENCE_DB = -60.0

Track = tuple[np.ndarray, np.ndarray]


@lru_cache(maxsize=1)
def _swift() -> Any:
    """Build the detector once in a process; one thread, as workers share the machine."""
    return import_module("swift_f0").SwiftF0(threads=1, spin=False)


def _crepe() -> Any:
    """Import torchcrepe, whose network comes with it."""
    from codec.import_shims import import_without_torchaudio

    return import_without_torchaudio("torchcrepe")


def track_pitch(waveform: np.ndarray, sample_rate: int) -> Track:
    """Track the pitch of a waveform (T,) by swift-f0 in frames of 16 ms.

    Returns:
        F0 in Hz (L,) float64 and voicing (L,) bool, L = T16k // 256 with T16k the samples at
        16 kHz; where a frame is unvoiced, its F0 means nothing.
    """
    samples = np.asarray(waveform, dtype=np.float32)
    result = _swift().detect(samples, sample_rate, LOWEST_HZ, HIGHEST_HZ)
    return result.pitch_hz, result.confidence >= VOICED_CONFIDENCE


def track_crepe(waveform: np.ndarray) -> Track:
    """Track the pitch of a waveform (T,) at 16 kHz by CREPE's full network in frames of 10 ms.

    A frame is voiced at a periodicity of at least 0.21, unless its perceptual loudness lies under
    -60 dB.

    Returns:
        F0 in Hz (L,) float64 and voicing (L,) bool.
    """
    import torch

    crepe = _crepe()
    audio = torch.from_numpy(np.asarray(waveform, dtype=np.float32))[None]
    with seeded_globally():
        pitch, periodicity = crepe.predict(
            *(audio, RATE, CREPE_HOP, 50.0, 550.0),
            model="full",
            return_periodicity=True,
            batch_size=512,
        )
    silence = crepe.threshold.Silence(CREPE_SILENCE_DB)
    periodicity = silence(periodicity, audio, RATE, CREPE_HOP)
    voiced = periodicity[0].numpy() >= CREPE_PERIODICITY
    return pitch[0].numpy().astype(np.float64), voiced


@dataclass(frozen=True)
class PitchAgreement:
    """Agreement of two pitch tracks; None where no frame is voiced in both."""

    vuv_f1: float  # of the voiced decision, the reference being the truth; higher is better
    f0_cents: float | None  # RMS F0 difference over frames voiced in both without gross errors
    gross_error_rate: float | None  # share of frames voiced in both whose F0 is off by over 20 %
    num_both_voiced: int


def compare_tracks(reference: Track, estimate: Track) -> PitchAgreement:
    """Compare two (F0 in Hz, voicing) tracks, cut to the shorter.

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
    # Octave errors would drown the error of all other frames: they are counted apart.
    fine = np.abs(cents) <= GROSS_CENTS
    rms = float(np.sqrt(np.mean(cents[fine] ** 2))) if fine.any() else None
    return PitchAgreement(f1, rms, float(1.0 - fine.mean()), hits)


def _info(suffix: str, **fields: Any) -> MetricInfo:
    """Identity of the metric by one tracker, a suffix in the names of its figures."""
    return MetricInfo(
        needs=frozenset({"reference", "estimate"}),
        figures=(
            FigureInfo(f"vuv_f1{suffix}", higher_is_better=True),
            FigureInfo(f"f0_cents{suffix}", "cents", higher_is_better=False),
            FigureInfo(f"gross_error_rate{suffix}", "%", higher_is_better=False),
        ),
        sample_rate=RATE,
        **fields,
    )


_INFOS = {
    "swift": _info(
        "",
        id="pitch.swift03",
        definition="swift-f0 at 16 kHz, 16 ms frames, 50-600 Hz, voiced at confidence >= 0.5, "
        "after removing the estimated lag (whole ms): V/UV F1; RMS cents over frames voiced "
        "in both without gross errors; share of those frames off by more than 20 %",
        packages=(("swift-f0", "0.3."),),
    ),
    "crepe": _info(
        "_crepe",
        id="pitch_crepe.full_021",
        definition="CREPE-full at 16 kHz, 10 ms frames, 50-550 Hz, voiced at periodicity >= "
        "0.21 and a loudness over -60 dB, pair cut to the shorter, no lag removed: V/UV F1; "
        "RMS cents over frames voiced in both without gross errors; share off by over 20 %",
        packages=(("torchcrepe", "0.0.24"), ("resampy", "0.4."), ("librosa", "0.")),
        # Its metadata ask for torchaudio, which it needs for reading files alone.
        alternative="pitch",
        is_large=True,
    ),
}


@dataclass(frozen=True)
class PitchMetric(Metric):
    """V/UV F1, F0 error in cents and gross error rate of a pair.

    Args:
        tracker: "swift", after removing the lag; or "crepe", no lag removed, as papers on codecs
            report V/UV F1.
    """

    tracker: Literal["swift", "crepe"] = "swift"

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return _INFOS[self.tracker]

    def prepare(self) -> None:
        """Load the tracker."""
        _crepe() if self.tracker == "crepe" else _swift()

    def score(self, item: Item) -> Score:
        """The three figures, frames voiced in both, and the lag; see `Metric`."""
        pair = aligned_pair(item, RATE)
        if self.tracker == "crepe":
            tracks = [track_crepe(each) for each in pair.raw]
        else:
            tracks = [track_pitch(each, RATE) for each in pair.aligned]
        agreement = compare_tracks(*tracks)
        values = (agreement.vuv_f1, agreement.f0_cents, agreement.gross_error_rate)
        figures = dict(zip([each.name for each in self.info.figures], values, strict=True))
        counts = {"num_both_voiced": float(agreement.num_both_voiced), "lag_ms": float(pair.lag_ms)}
        return Score(figures | counts)
