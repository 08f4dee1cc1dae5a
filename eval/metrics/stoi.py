"""Short-time objective intelligibility of a copy: STOI and ESTOI."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

import numpy as np

from codec.provenance import package_versions
from eval.protocols import FigureInfo, Item, Metric, MetricError, MetricInfo, Score

from .global_random import seeded_globally
from .lag import NOTABLE_LAG_MS, aligned_pair

RATE = 16000
# A warning: a codec of one's own should copy without a lag, classical ones have theirs.
LAG_FIGURES = (FigureInfo("lag_ms", "ms"), FigureInfo("lag_over_2ms", "%", False))


def stoi(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, *, extended: bool = False
) -> float:
    """Short-time objective intelligibility of two waveforms (T,) of one length, by pystoi.

    Higher is better, at most 1. Frames 40 dB under the loudest of the reference are excluded;
    pystoi itself resamples to 10 kHz. `extended` gives ESTOI, which is also sensitive to
    distortions that differ from band to band.

    Raises:
        MetricError: Fewer than the 0.4 s of active speech that the measure needs, for which
            pystoi would return 1e-5.
    """
    from pystoi import stoi as pystoi_stoi

    with warnings.catch_warnings(), seeded_globally():
        # The package only warns of what it returns 1e-5 for.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            value = float(pystoi_stoi(reference, estimate, sample_rate, extended=extended))
        except RuntimeWarning as warning:
            raise MetricError(f"too little active speech for STOI: {warning}") from warning
    if not np.isfinite(value):
        raise MetricError(f"STOI is not a number ({value}): no frame of the pair is active")
    return value


@lru_cache(maxsize=1)
def _back_end() -> str:
    """Name pystoi in ids: its releases give values that differ in the third digit.

    The id of 0.4.1 names two digits only, as it always has.
    """
    found = package_versions(("pystoi",))["pystoi"]
    return "pystoi04" if found in (None, "0.4.1") else f"pystoi{found.replace('.', '')}"


@dataclass(frozen=True)
class StoiMetric(Metric):
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
            id=f"{name}.{_back_end()}",
            definition=f"{name.upper()} of pystoi on the pair at 16 kHz: {name} after removing the "
            f"estimated lag (whole ms), {name}_raw as it is",
            needs=frozenset({"reference", "estimate"}),
            # The lag is the same for both, so only one of them puts it into the summary.
            figures=figures if self.extended else (*figures, *LAG_FIGURES),
            sample_rate=RATE,
            packages=(("pystoi", "0.4."),),
        )

    def prepare(self) -> None:
        """Import pystoi, so that a broken installation shows before any item is read."""
        import_module("pystoi")

    def score(self, item: Item) -> Score:
        """Both values, the lag and whether it is over 2 ms (1.0 or 0.0); see `Metric`."""
        name = "estoi" if self.extended else "stoi"
        pair = aligned_pair(item, RATE)
        raw = stoi(*pair.raw, RATE, extended=self.extended)
        aligned = stoi(*pair.aligned, RATE, extended=self.extended) if pair.lag_ms else raw
        late = float(abs(pair.lag_ms) > NOTABLE_LAG_MS)
        lags = {"lag_ms": float(pair.lag_ms), "lag_over_2ms": late}
        return Score({name: aligned, f"{name}_raw": raw, **lags})
