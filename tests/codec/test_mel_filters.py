"""Triangular filters by hand."""

from __future__ import annotations

import numpy as np
import pytest

from codec.mel_filters import triangular_filters

EDGES = np.array([0.0, 2.0, 4.0, 8.0])
BINS = np.arange(9.0)


def test_a_filter_rises_to_its_peak_and_falls_to_the_edge_after_it() -> None:
    expected = [
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0],
    ]
    np.testing.assert_array_equal(triangular_filters(EDGES, BINS), expected)


def test_filters_of_unit_area_integrate_to_one_over_hertz() -> None:
    fine = np.linspace(0.0, 8.0, 8001)
    filters = triangular_filters(EDGES, fine, unit_area=True)
    assert filters.sum(axis=1) * 0.001 == pytest.approx([1.0, 1.0], abs=1e-6)
