"""A server of a tiny model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slm.serving.speaker import Speaker
from slm.synthesis.synthesizer import Synthesizer
from tests.slm.serving.served import Served, serving


@pytest.fixture(scope="module")
def synthesizer(model_folders: tuple[Path, Path]) -> Synthesizer:
    return Synthesizer.from_pretrained(*model_folders)


@pytest.fixture(scope="module")
def served(synthesizer: Synthesizer) -> Iterator[Served]:
    with serving(Speaker(synthesizer, "ann")) as server:
        yield server
