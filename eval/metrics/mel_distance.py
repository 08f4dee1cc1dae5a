"""Distances of a copy from its recording that need nothing but arithmetic: MCD and SI-SDR."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct, next_fast_len

from eval.protocols import FigureInfo, Item, MetricError, MetricInfo, Score

from .lag import aligned_pair, common_part
from .mel import log_mel

MCD_RATE = 16000
MCD_BANDS = 40
MCD_ORDER = 24
MCD_N_FFT = 512
MCD_HOP = 160
# What lies that far under the loudest band of the recording is no part of the speech.
FLOOR_DB = 50.0
# A frame is speech when its loudest band lies no further than this under the loudest of all.
SPEECH_DB = 40.0
SDR_REACH_MS = 100


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
    spectra = [
        log_mel(
            signal,
            MCD_RATE,
            n_fft=MCD_N_FFT,
            hop_length=MCD_HOP,
            n_mels=MCD_BANDS,
            floor=1e-8,
        )
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
    cepstra = np.asarray(dct(ours - theirs, axis=0, type=2))[1 : MCD_ORDER + 1] / ours.shape[0]
    return 10.0 / np.log(10.0) * np.sqrt(2.0 * (cepstra**2).sum(axis=0))


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of two waveforms (T,), as they lie.

    Means are removed, the estimate is projected on the reference, and the power of that part
    stands over the power of the rest; higher is better. At most 100 dB, which an identical copy
    gets: beyond it lies the rounding noise of arithmetic. Source: https://arxiv.org/abs/1811.02508

    Raises:
        MetricError: The reference has no power.
    """
    target = reference - reference.mean()
    heard = estimate - estimate.mean()
    power = float(target @ target)
    if power <= 0.0:
        raise MetricError("the reference is constant")
    part = (float(heard @ target) / power) * target
    rest = heard - part
    ratio = float(part @ part) / max(float(rest @ rest), 1e-30)
    return float(np.clip(10.0 * np.log10(max(ratio, 1e-30)), -100.0, 100.0))


def sample_lag(reference: np.ndarray, estimate: np.ndarray, reach: int) -> int:
    """Delay of the estimate in samples, of the highest |correlation| within +-reach samples."""
    size = next_fast_len(max(reference.size, estimate.size) + reach, real=True)
    spectrum = np.conj(np.fft.rfft(reference, size)) * np.fft.rfft(estimate, size)
    lags = np.arange(-reach, reach + 1)
    return int(lags[np.argmax(np.abs(np.fft.irfft(spectrum, size)[lags]))])


@dataclass(frozen=True)
class MelCepstralMetric:
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

    def prepare(self) -> None:
        """Nothing to load."""

    def score(self, item: Item) -> Score:
        """The distortion and the lag; see `Metric`."""
        pair = aligned_pair(item, MCD_RATE)
        distortion = mel_cepstral_distortion(*pair.aligned)
        return Score({"mcd_mel": distortion, "lag_ms": float(pair.lag_ms)})


@dataclass(frozen=True)
class SiSdrMetric:
    """SI-SDR of the pair, aligned to a sample; without phase a copy scores far below 0 dB."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="si_sdr.v1",
            definition="scale-invariant SDR at 16 kHz in dB, means removed, limited to +-100, "
            f"after removing the lag of the highest |correlation| within {SDR_REACH_MS} ms (whole "
            "samples); says nothing of copies without phase",
            needs=frozenset({"reference", "estimate"}),
            figures=(FigureInfo("si_sdr", "dB", higher_is_better=True),),
            sample_rate=MCD_RATE,
        )

    def prepare(self) -> None:
        """Nothing to load."""

    def score(self, item: Item) -> Score:
        """The ratio and its own lag, to a sample; see `Metric`."""
        reference, estimate = aligned_pair(item, MCD_RATE).raw
        lag = sample_lag(reference, estimate, SDR_REACH_MS * MCD_RATE // 1000)
        pair = common_part(reference[max(-lag, 0) :], estimate[max(lag, 0) :])
        return Score({"si_sdr": si_sdr(*pair), "lag_ms": 1000.0 * lag / MCD_RATE})
