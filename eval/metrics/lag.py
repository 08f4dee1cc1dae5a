"""Lag between a recording and its copy, and their common part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.fft import next_fast_len

from eval.protocols import Item, MetricError
from eval.sound import checked_part, resampled

from .mel import log_mel

ALIGN_RATE = 16000
STEPS_PER_SECOND = 1000
MAX_LAG_MS = 100
# A codec whose copies come later than this pads or cuts wrongly.
NOTABLE_LAG_MS = 2
# A copy that much longer or shorter is not cut to fit: cutting would hide lost speech.
MAX_LENGTH_DIFFERENCE = 0.2


def estimate_lag(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> int:
    """Estimate the delay of the estimate in whole ms; positive when it comes late.

    Found as the highest normalised correlation of their log-mel envelopes (20 bands, 1 ms steps)
    within +-100 ms. Envelopes carry no phase, so a vocoder that keeps none is measured fairly,
    where correlating samples would lock on a pitch period.
    """
    ours = _envelopes(reference, sample_rate)  # (20, steps)
    theirs = _envelopes(estimate, sample_rate)
    steps = min(ours.shape[1], theirs.shape[1])
    ours, theirs = ours[:, :steps], theirs[:, :steps]
    reach = min(MAX_LAG_MS, steps // 2)
    lags = np.arange(-reach, reach + 1)
    # Correlation of all bands at once; the padding keeps the lags asked for from wrapping round.
    size = next_fast_len(steps + reach, real=True)
    spectrum = (np.conj(np.fft.rfft(ours, size)) * np.fft.rfft(theirs, size)).sum(axis=0)
    products = np.fft.irfft(spectrum, size)[lags]
    # Both energies are taken over the overlap only, else short overlaps would score low.
    late = np.concatenate(([0.0], np.cumsum((theirs**2).sum(axis=0))))
    early = np.concatenate(([0.0], np.cumsum((ours**2).sum(axis=0))))
    forward, backward = np.maximum(lags, 0), np.maximum(-lags, 0)
    energy = (late[steps - backward] - late[forward]) * (early[steps - forward] - early[backward])
    return int(lags[np.argmax(products / np.sqrt(np.maximum(energy, 1e-12)))])


def _envelopes(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Log-mel envelopes without their mean, (20, steps), one step a millisecond."""
    signal = resampled(waveform, sample_rate, ALIGN_RATE)
    hop = ALIGN_RATE // STEPS_PER_SECOND
    mel = log_mel(signal, ALIGN_RATE, n_fft=512, hop_length=hop, n_mels=20, floor=1e-2)
    return mel - mel.mean(axis=1, keepdims=True)


def common_part(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut both waveforms at their ends to the shorter length."""
    samples = min(reference.size, estimate.size)
    return reference[:samples], estimate[:samples]


def shifted(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, lag_ms: int
) -> tuple[np.ndarray, np.ndarray]:
    """Remove a lag, then cut both to their common part."""
    offset = round(lag_ms * sample_rate / 1000)
    return common_part(reference[max(-offset, 0) :], estimate[max(offset, 0) :])


@dataclass(frozen=True)
class AlignedPair:
    """A recording and its copy at the rate of a metric."""

    reference: np.ndarray  # (T,), not cut
    estimate: np.ndarray  # (T',), not cut
    sample_rate: int  # of both, Hz
    lag_ms: int  # delay of the estimate

    @property
    def raw(self) -> tuple[np.ndarray, np.ndarray]:
        """Both cut to the shorter, no lag removed."""
        return common_part(self.reference, self.estimate)

    @property
    def aligned(self) -> tuple[np.ndarray, np.ndarray]:
        """Both without the lag, cut to their common part."""
        return shifted(self.reference, self.estimate, self.sample_rate, self.lag_ms)


def aligned_pair(item: Item, sample_rate: int) -> AlignedPair:
    """Bring the pair of an item to a rate and find its lag, once for all metrics of the item.

    Raises:
        MetricError: A waveform is missing or cannot be measured, or their lengths differ by more
            than 0.2 s.
    """
    # The lag is the same at every rate: it is estimated at one.
    ours, theirs = shared(item, ("pair", sample_rate), lambda: _pair(item, sample_rate))
    low = shared(item, ("pair", ALIGN_RATE), lambda: _pair(item, ALIGN_RATE))
    lag_ms = shared(item, "lag_ms", lambda: estimate_lag(low[0], low[1], ALIGN_RATE))
    return AlignedPair(ours, theirs, sample_rate, lag_ms)


def shared(item: Item, key: Any, compute: Callable[[], Any]) -> Any:
    """Return what another metric has computed of this item under a key, or compute and keep it."""
    if key not in item.shared:
        item.shared[key] = compute()
    return item.shared[key]


def _pair(item: Item, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Both waveforms of an item, checked and at a rate, not yet cut."""
    own_rate = item.sample_rate
    ours, theirs = checked_part(item, "reference"), checked_part(item, "estimate")
    if abs(ours.size - theirs.size) > MAX_LENGTH_DIFFERENCE * own_rate:
        raise MetricError(
            f"lengths differ by more than {MAX_LENGTH_DIFFERENCE} s: reference "
            f"{ours.size / own_rate:.2f} s, estimate {theirs.size / own_rate:.2f} s"
        )
    return resampled(ours, own_rate, sample_rate), resampled(theirs, own_rate, sample_rate)
