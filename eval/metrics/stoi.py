"""How close a copy sounds to its recording: STOI, ESTOI and the log-mel distance."""

import warnings
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from eval.protocols import FigureInfo, Item, MetricError, MetricInfo, Score
from eval.sound import resampled

from .lag import NOTABLE_LAG_MS, aligned_pair, common_part
from .mel import FLOOR, HOP_LENGTH, N_FFT, N_MELS, SAMPLE_RATE, log_mel


def stoi(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, *, extended: bool = False
) -> float:
    """Short-time objective intelligibility of two waveforms (T,) of one length, by pystoi.

    Higher is better, at most 1. Frames 40 dB under the loudest of the reference are excluded.

    Args:
        reference: Recording, (T,).
        estimate: Copy, (T,).
        sample_rate: Rate of both in Hz; pystoi itself goes to 10 kHz.
        extended: ESTOI, which also sees distortions that differ from band to band.

    Raises:
        MetricError: Fewer than the 0.4 s of active speech that the measure needs, for which
            pystoi would return 1e-5.
    """
    from pystoi import stoi as pystoi_stoi

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            value = float(pystoi_stoi(reference, estimate, sample_rate, extended=extended))
        except RuntimeWarning as warning:
            raise MetricError(f"too little active speech for STOI: {warning}") from warning
    if not np.isfinite(value):
        raise MetricError(f"STOI is not a number ({value}): no frame of the pair is active")
    return value


def mel_distance(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Mean absolute difference of two log-mels, in nats a bin; lower is better, 0 for equals.

    Both waveforms (T,) go to 24 kHz, are cut to the shorter, and every bin of every frame counts;
    magnitudes are floored at 1e-3, about the rounding noise of 16 bits.
    """
    signals = [resampled(signal, sample_rate, SAMPLE_RATE) for signal in (reference, estimate)]
    ours, theirs = (log_mel(signal) for signal in common_part(*signals))
    return float(np.abs(ours - theirs).mean())


# A warning: a codec of one's own should copy without a lag, classical ones have theirs.
LAG_FIGURES = (FigureInfo("lag_ms", "ms"), FigureInfo("lag_over_2ms", "%", False))


@dataclass(frozen=True)
class StoiMetric:
    """STOI or ESTOI, after removing the lag and as it is, with the lag beside them."""

    extended: bool = False

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        name = "estoi" if self.extended else "stoi"
        figures = (
            FigureInfo(name, higher_is_better=True),
            FigureInfo(f"{name}_raw", higher_is_better=True),
        )
        return MetricInfo(
            id=f"{name}.pystoi04",
            definition=f"{name.upper()} of pystoi on the pair at 16 kHz: {name} after removing the "
            f"estimated lag (whole ms), {name}_raw as it is",
            needs=frozenset({"reference", "estimate"}),
            # The lag is the same for both, so only one of them puts it into the summary.
            figures=figures if self.extended else (*figures, *LAG_FIGURES),
            sample_rate=16000,
            packages=(("pystoi", "0.4."),),
        )

    def prepare(self) -> None:
        """Imports pystoi, so that a broken installation shows before any item is read."""
        import_module("pystoi")

    def score(self, item: Item) -> Score:
        """Both values, the lag and whether it is over 2 ms (1.0 or 0.0); see `Metric`."""
        name, rate = ("estoi" if self.extended else "stoi"), 16000
        pair = aligned_pair(item, rate)
        raw = stoi(*pair.raw, rate, extended=self.extended)
        aligned = stoi(*pair.aligned, rate, extended=self.extended) if pair.lag_ms else raw
        late = float(abs(pair.lag_ms) > NOTABLE_LAG_MS)
        lags = {"lag_ms": float(pair.lag_ms), "lag_over_2ms": late}
        return Score({name: aligned, f"{name}_raw": raw, **lags})


@dataclass(frozen=True)
class MelDistanceMetric:
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

    def prepare(self) -> None:
        """Nothing to load."""

    def score(self, item: Item) -> Score:
        """The distance and the lag; see `Metric`."""
        pair = aligned_pair(item, SAMPLE_RATE)
        distance = mel_distance(*pair.aligned, SAMPLE_RATE)
        return Score({"mel_l1": distance, "lag_ms": float(pair.lag_ms)})
