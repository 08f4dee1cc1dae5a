"""Perceptual quality of a copy against its recording: PESQ and ViSQOL."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from eval.loading import LoadedMetric
from eval.protocols import FigureInfo, Item, Metric, MetricError, MetricInfo, Score

from .lag import aligned_pair

RATE = 16000
# P.862.2 maps onto this range; anything else is an error code or a bug, never a quality.
PESQ_RANGE = (1.0, 4.65)


def pesq_wideband(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Wide-band PESQ (P.862.2) of two waveforms (T,) at 16 kHz; 1.02 to 4.644, higher is better.

    It finds lag and gain by itself.

    Raises:
        MetricError: Silence, too little audio, or a result that is no score.
    """
    pesq = import_module("pesq")
    try:
        value = float(pesq.pesq(RATE, reference, estimate, "wb"))
    except (pesq.PesqError, ValueError, ZeroDivisionError) as error:
        name = type(error).__name__
        reason = error.args[0] if error.args else ""
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise MetricError(f"PESQ cannot score this pair: {name} {text}".strip()) from error
    # The package can also return -1 for silence, which must not reach an average.
    if not PESQ_RANGE[0] <= value <= PESQ_RANGE[1]:
        raise MetricError(f"expected PESQ from 1.0 to 4.65, got {value:g}")
    return value


@dataclass(frozen=True)
class PesqMetric(Metric):
    """Wide-band PESQ of the pair as it is."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="pesq.wb_pesq00",
            definition="P.862.2 wide-band PESQ at 16 kHz of the pair cut to the shorter; it aligns "
            "time and level by itself",
            needs=frozenset({"reference", "estimate"}),
            figures=(FigureInfo("pesq_wb", higher_is_better=True),),
            sample_rate=RATE,
            packages=(("pesq", "0.0.4"),),
            install_note="it compiles; check the ITU's terms for P.862",
            alternative="estoi",
        )

    def prepare(self) -> None:
        """Import pesq, so that a broken build shows before any item is read."""
        import_module("pesq")

    def score(self, item: Item) -> Score:
        """The score; see `Metric`."""
        return Score({"pesq_wb": pesq_wideband(*aligned_pair(item, RATE).raw)})


class VisqolMetric(LoadedMetric, Metric):
    """ViSQOL in speech mode with the lattice, never with the polynomial it falls back to."""

    @property
    def info(self) -> MetricInfo:
        """Identity; see `Metric`."""
        return MetricInfo(
            id="visqol.lattice38",
            definition="ViSQOL v3 speech mode at 16 kHz, quality mapped by the lattice network, of "
            "the pair after removing the estimated lag (whole ms)",
            needs=frozenset({"reference", "estimate"}),
            figures=(FigureInfo("visqol", higher_is_better=True),),
            sample_rate=RATE,
            # Without ai-edge-litert the package maps by a polynomial: 3.60 where this gives 2.16.
            packages=(("visqol-python", "3.8."), ("ai-edge-litert", "2.")),
            alternative="estoi",
        )

    def _load(self) -> Any:
        """Build the model; raises ImportError where the lattice cannot run."""
        api = import_module("visqol").VisqolApi()
        api.create(mode="speech", use_lattice_model=True)
        return api

    def score(self, item: Item) -> Score:
        """MOS-LQO from 1 to 5 and the lag; see `Metric`."""
        self.prepare()
        pair = aligned_pair(item, RATE)
        reference, estimate = (np.ascontiguousarray(each, np.float64) for each in pair.aligned)
        try:
            value = float(self._model.measure_from_arrays(reference, estimate, RATE).moslqo)
        except (ValueError, IndexError) as error:
            raise MetricError(f"ViSQOL cannot score this pair: {error}") from error
        return Score({"visqol": value, "lag_ms": float(pair.lag_ms)})
