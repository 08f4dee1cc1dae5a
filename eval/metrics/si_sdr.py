"""Scale-invariant signal-to-distortion ratio; without phase a copy scores far below 0 dB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len

from eval.protocols import FigureInfo, Item, Metric, MetricError, MetricInfo, Score

from .lag import aligned_pair, common_part

RATE = 16000
REACH_MS = 100


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of two waveforms (T,), as they lie.

    Means are removed, the estimate is projected on the reference, and the power of that part
    stands over the power of the rest; higher is better. At most 100 dB, which an identical copy
    gets: beyond it lies the rounding noise of arithmetic. Source: https://arxiv.org/abs/1811.02508

    Raises:
        MetricError: The reference has no power.
    """
    target = reference - reference.mean()
    centred = estimate - estimate.mean()
    power = float(target @ target)
    if power <= 0.0:
        raise MetricError("the reference is constant")
    part = (float(centred @ target) / power) * target
    rest = centred - part
    ratio = float(part @ part) / max(float(rest @ rest), 1e-30)
    return float(np.clip(10.0 * np.log10(max(ratio, 1e-30)), -100.0, 100.0))


def sample_lag(reference: np.ndarray, estimate: np.ndarray, reach: int) -> int:
    """Find the delay of the estimate with the highest |correlation| within +-reach samples."""
    # The padding keeps the lags within reach from wrapping round.
    size = next_fast_len(max(reference.size, estimate.size) + reach, real=True)
    spectrum = np.conj(np.fft.rfft(reference, size)) * np.fft.rfft(estimate, size)
    lags = np.arange(-reach, reach + 1)
    return int(lags[np.argmax(np.abs(np.fft.irfft(spectrum, size)[lags]))])


@dataclass(frozen=True)
class SiSdrMetric(Metric):
    """SI-SDR of the pair, aligned to a sample."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="si_sdr.v1",
            definition="scale-invariant SDR at 16 kHz in dB, means removed, limited to +-100, "
            f"after removing the lag of the highest |correlation| within {REACH_MS} ms (whole "
            "samples); says nothing of copies without phase",
            needs=frozenset({"reference", "estimate"}),
            figures=(FigureInfo("si_sdr", "dB", higher_is_better=True),),
            sample_rate=RATE,
        )

    def score(self, item: Item) -> Score:
        """The ratio and its own lag, to a sample; see `Metric`."""
        reference, estimate = aligned_pair(item, RATE).raw
        lag = sample_lag(reference, estimate, REACH_MS * RATE // 1000)
        pair = common_part(reference[max(-lag, 0) :], estimate[max(lag, 0) :])
        return Score({"si_sdr": si_sdr(*pair), "lag_ms": 1000.0 * lag / RATE})
