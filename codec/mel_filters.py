"""Triangular mel filters; every front end brings its own scale."""

from __future__ import annotations

import numpy as np


def triangular_filters(
    edges: np.ndarray, bins: np.ndarray, *, unit_area: bool = False
) -> np.ndarray:
    """Compute overlapping triangles over the bins of a spectrum.

    Args:
        edges: (M + 2,) ascending frequencies, Hz; filter m rises from edge m to its peak at edge
            m + 1 and falls to edge m + 2.
        bins: (F,) frequencies of the bins, Hz.
        unit_area: Give every triangle the area 1 over Hz, as Slaney's toolbox does, in place of
            the peak 1.

    Returns:
        (M, F) float64 weights, at least 0.
    """
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return weights * (2.0 / (edges[2:] - edges[:-2]))[:, None] if unit_area else weights
