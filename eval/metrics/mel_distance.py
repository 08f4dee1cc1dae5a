"""Distances of log-mels: mean absolute difference and mel-cepstral distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

from eval.protocols import FigureInfo, Item, Metric, MetricError, MetricInfo, Score
from eval.sound import resampled

from .lag import aligned_pair, common_part
from .mel import FLOOR, HOP_LENGTH, N_FFT, N_MELS, SAMPLE_RATE, log_mel

MCD_RATE = 16000
MCD_BANDS = 40
MCD_ORDER = 24
MCD_N_FFT = 512
MCD_HOP = 160
# What lies that far under the loudest band of the recording is no part of the speech.
FLOOR_DB = 50.0
# A frame is speech when its loudest band lies no further than this under the loudest of all.
SPEECH_DB = 40.0


def mel_distance(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of two log-mels, in nats a bin; lower is better, 0 for equals.

    Both waveforms (T,) go to 24 kHz, are cut to the shorter, and every bin of every frame counts;
    magnitudes are floored at 1e-3, about the rounding noise of 16 bits.
    """
    signals = [resampled(signal, sample_rate, SAMPLE_RATE) for signal in (reference, estimate)]
    ours, theirs = (log_mel(signal) for signal in common_part(*signals))
    return float(np.abs(ours - theirs).mean())


def mel_cepstral_distortion(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int = MCD_RATE
) -> float:
    """Mel-cepstral distortion in dB of two waveforms (T,) at 16 kHz; lower is better, 0 for equals.

    Log-mel magnitudes are of 40 bands in frames of 32 ms every 10 ms, both floored 50 dB under
    the loudest band of the recording; the mean of `cepstral_distance` runs over frames whose
    loudest band lies within 40 dB of it.

    Raises:
        MetricError: The rate is another, or no frame is speech.
    """
    if sample_rate != MCD_RATE:
        raise MetricError(f"expected waveforms at {MCD_RATE} Hz, got {sample_rate} Hz")
    # (40, L) each
    sizes = {"n_fft": MCD_N_FFT, "hop_length": MCD_HOP, "n_mels": MCD_BANDS}
    spectra = [
        log_mel(signal, MCD_RATE, **sizes, floor=1e-8)
        for signal in common_part(reference, estimate)
    ]
    nats_per_db = np.log(10.0) / 20.0
    peak = float(spectra[0].max())
    speech = spectra[0].max(axis=0) > peak - SPEECH_DB * nats_per_db
    if not speech.any():
        raise MetricError("no frame of the reference is speech")
    floored = [np.maximum(each[:, speech], peak - FLOOR_DB * nats_per_db) for each in spectra]
    return float(cepstral_distance(*floored).mean())


def cepstral_distance(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Distance of two log-mel magnitudes (M, L) in nats, (L,) in dB.

    It is 10 / ln 10 * sqrt(2 sum over k = 1 .. 24 of (c_k - c'_k)^2), where a spectrum is
    c_0 + sum_k c_k cos(k w): on this scale, the classical one, a frame's distance is the RMS
    difference in dB of the two smoothed spectra, their level aside.
    """
    # c_0, the level, is left out.
    cepstra = np.asarray(dct(ours - theirs, axis=0, type=2))[1 : MCD_ORDER + 1] / ours.shape[0]
    return 10.0 / np.log(10.0) * np.sqrt(2.0 * (cepstra**2).sum(axis=0))


@dataclass(frozen=True)
class MelCepstralMetric(Metric):
    """Mel-cepstral distortion on floored log-mels, after removing the lag."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="mcd_mel.v1",
            definition=f"10/ln10 sqrt(2 sum (c_k - c'_k)^2) dB over c_1..c_{MCD_ORDER} of "
            f"{MCD_BANDS} log-mel magnitudes ({MCD_N_FFT}/{MCD_HOP} samples at {MCD_RATE} Hz), "
            f"both floored {FLOOR_DB:g} dB under the reference's loudest band, mean over frames "
            f"within {SPEECH_DB:g} dB of it, after removing the estimated lag (whole ms)",
            needs=frozenset({"reference", "estimate"}),
            figures=(FigureInfo("mcd_mel", "dB", higher_is_better=False),),
            sample_rate=MCD_RATE,
        )

    def score(self, item: Item) -> Score:
        """The distortion and the lag; see `Metric`."""
        pair = aligned_pair(item, MCD_RATE)
        distortion = mel_cepstral_distortion(*pair.aligned)
        return Score({"mcd_mel": distortion, "lag_ms": float(pair.lag_ms)})


@dataclass(frozen=True)
class MelDistanceMetric(Metric):
    """Log-mel L1 after removing the lag."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="mel_l1.v1",
            definition=f"mean |difference| of natural-log mel magnitudes ({N_MELS} HTK bands, "
            f"n_fft {N_FFT}, hop {HOP_LENGTH}, {SAMPLE_RATE} Hz, floor {FLOOR:g}) after removing "
            "the estimated lag (whole ms)",
            needs=frozenset({"reference", "estimate"}),
            figures=(FigureInfo("mel_l1", "nats", higher_is_better=False),),
            sample_rate=SAMPLE_RATE,
        )

    def score(self, item: Item) -> Score:
        """The distance and the lag; see `Metric`."""
        pair = aligned_pair(item, SAMPLE_RATE)
        distance = mel_distance(*pair.aligned, SAMPLE_RATE)
        return Score({"mel_l1": distance, "lag_ms": float(pair.lag_ms)})
