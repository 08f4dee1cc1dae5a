"""Metrics that load a model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from eval.loading import LoadedMetric, load_hf_model
from eval.protocols import WeightSpec


class Counting(LoadedMetric):
    """Counts how often its model is loaded."""

    loads = 0

    def __init__(self, part: str) -> None:
        self.part = part

    def _load(self) -> Any:
        self.loads += 1
        return "model"


def test_a_model_is_loaded_once_and_dropped_on_pickling() -> None:
    metric = Counting("estimate")
    assert metric._model is None
    metric.prepare()
    metric.prepare()
    assert (metric.loads, metric._model) == (1, "model")
    state = metric.__getstate__()
    assert state == {"part": "estimate", "loads": 1}


def test_a_real_metric_survives_a_worker() -> None:
    from eval.metrics.mos import UtmosMetric

    metric = UtmosMetric("reference")
    metric._model = "loaded"
    copy = pickle.loads(pickle.dumps(metric))
    assert copy == metric
    assert copy._model is None


def test_a_folder_of_something_else_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    weight = WeightSpec("some_folder", "MIT", "make it", is_folder=True)
    monkeypatch.setenv(weight.variable, str(tmp_path))
    with pytest.raises(ValueError, match="expected a WavLMForXVector in"):
        load_hf_model(weight, "WavLMForXVector", "AutoFeatureExtractor")
