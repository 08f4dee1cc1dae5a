"""Counts of what is generated together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from slm.engines.cuda_graphs import GraphEngine
from slm.engines.merged import MergedEngine
from slm.engines.native import NativeEngine


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every step of single tokens that the test makes."""
    counted: list[int] = []
    for kind in (MergedEngine, GraphEngine, NativeEngine):
        read = kind.decode

        def counting(self: Any, tokens: torch.Tensor, read: Any = read) -> torch.Tensor:
            counted.append(len(tokens))
            return read(self, tokens)

        monkeypatch.setattr(kind, "decode", counting)
    return counted
