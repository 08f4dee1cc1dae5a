"""Packages that draw from numpy's global generator, made to give the same for the same waveform."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seeded_globally(seed: int = 0) -> Iterator[None]:
    """Seed numpy's global generator for a call and set it back, so that a file scores alike twice.

    CREPE's package dithers pitch by it, pystoi adds noise of 1e-16 that counts where a waveform is
    digitally silent.
    """
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
